"""RFC 4475: 49 rows, each with a message of our own that has the row's oddity.

Hosts served: atlanta.example and biloxi.example.  The top Via names the port the answer goes to when no
rport asks for another one (RFC 3261 18.2.2).
"""

from tests.torture.row import SDP, Row, Stream, sip

_MULTIPART = b"\r\n".join(
    (
        b"--limit-42",
        b"Content-Type: text/plain",
        b"",
        b"octets follow",
        b"--limit-42",
        b"Content-Type: application/octet-stream",
        b"Content-Transfer-Encoding: binary",
        b"",
        bytes(range(256)) + b"\x00\r\n\r\n\x00INVITE",
        b"--limit-42--",
        b"",
    )
)

_VIA_SPELLINGS = ("Via", "via", "VIA", "vIA", "ViA", "v", "V", "v ", "V\t", "Via  ")

_LONG_VIAS = "".join(
    f"{_VIA_SPELLINGS[hop % len(_VIA_SPELLINGS)]}: SIP/2.0/TCP hop{hop}.relay.biloxi.example\n"
    for hop in range(33, 0, -1)
)

VALID = (
    Row(
        "wsinv",
        "folding, blanks around every separator, compact forms mixed in, leading zeros, empty Subject, "
        "an unknown header full of separators, a branch without the magic cookie",
        sip(
            """\
            INVITE sip:rosa@atlanta.example;what-is-this SIP/2.0
            to\t:
             sip:rosa@atlanta.example ;
             tag\t=   76aq1
            F  : "Ned \\\\\\"The \\\\ Head\\""    <sip:ned@biloxi.example>
              ;
             tag
             = n3d
            mAx-FORWARDS:   0042
            i: wsinv.7781@198.51.100.3
            l  : {length}
            CSEQ: 00017
             INVITE
            Via\t: SIP /
              2.0
             / UDP
               198.51.100.3;branch=41wsnocookie
            Subject:
            Brand-New:  one value
            \tthat goes on
             and on
            Queer-Separators: ,;,,;;,;
            c: application/sdp
            Route:
             <sip:edge.atlanta.example;lr;flag;with=value>
            v:  SIP  / 2.0 / TCP\t  second.biloxi.example  ;
              branch =
             z9hG4bK-w2  ,
             SIP / 2.0 / UDP   10.9.8.7 ; branch=z9hG4bK-w3
            m:"A \\"quoted\\" name" <sip:ned@biloxi.example> ; fresh =
               value ;
              also ; q = 0.5

            """,
            SDP,
        ),
        405,
    ),
    Row(
        "intmeth",
        "every unusual character the grammar allows in method, URI, display name, parameters and Call-ID",
        sip(
            """\
            do.~it'now!-%_*+`9 sip:9.!~*'(odd)&=+$,;?/:p&=+$,w@atlanta.example SIP/2.0
            Via: SIP/2.0/TCP one.biloxi.example;branch=z9hG4bK.%!~*_+`'-
            To: "bell \\\x07 nul \\\x00 rubout \\\x7f" <sip:9.!~*'(odd)&=+$,;?/@atlanta.example>
            From: word~` other'_+ third*.!%- <sip:plain@biloxi.example>;odd%~!.*="привет";tag=~t'1+`*%!_-.
            Call-ID: a%ZZ-!.*_+'@b`~)(><:\\/"][?}{
            CSeq: 4100200300 do.~it'now!-%_*+`9
            Max-Forwards: 255
            X-%!*.+_`'~-: ﻿終わり
            Content-Length: 0

            """
        ),
        501,
    ),
    Row(
        "esc01",
        "%HH in user parts and URI parameters, one of which would unescape twice",
        sip(
            """\
            INVITE sip:sip%3Arosa%40atlanta.example@biloxi.example SIP/2.0
            To: sip:%72o%73a@biloxi.example
            From: <sip:two%20words@atlanta.example>;tag=e1
            Max-Forwards: 61
            i: esc01.99182
            CSeq: 8812 INVITE
            Via: SIP/2.0/UDP host.atlanta.example;branch=z9hG4bK-esc01
            C: application/sdp
            Contact:
             <sip:n%65d@host.atlanta.example;l%72;p%61r=x%25%34%32>
            Content-Length: {length}

            """,
            SDP,
        ),
        405,
    ),
    Row(
        "escnull",
        "%00 in the address-of-record and in two different contacts",
        sip(
            """\
            REGISTER sip:biloxi.example SIP/2.0
            To: sip:zero%00end@biloxi.example
            From: sip:zero%00end@biloxi.example;tag=nul
            Max-Forwards: 70
            Call-ID: escnull.55021
            CSeq: 310 REGISTER
            Via: SIP/2.0/UDP pc.biloxi.example;branch=z9hG4bK-nul
            Contact: <sip:%00%00@pc.biloxi.example>
            Contact: <sip:%00@pc.biloxi.example>
            l:0

            """
        ),
        200,
        contacts=("<sip:%00%00@pc.biloxi.example>", "<sip:%00@pc.biloxi.example>"),
    ),
    Row(
        "esc02",
        "% is no escape in a method, a header name or a display name",
        sip(
            """\
            %52EGISTE%52 sip:atlanta.example SIP/2.0
            To: "%41%Q" <sip:thing@atlanta.example>
            From: "%41%Q" <sip:thing@atlanta.example>;tag=esc2
            Call-ID: esc02.18220
            Via: SIP/2.0/TCP pc.atlanta.example;branch=z9hG4bK%41%zz
            CSeq: 512 %52EGISTE%52
            Max-Forwards: 70
            Contact: <sip:first@pc.atlanta.example>
            %43ontact: <sip:second@pc.atlanta.example>
            Contact: <sip:third@pc.atlanta.example>
            l: 0

            """
        ),
        501,
    ),
    Row(
        "lwsdisp",
        "no blank between display name and <",
        sip(
            """\
            OPTIONS sip:rosa@atlanta.example SIP/2.0
            To: "Rosa"<sip:rosa@atlanta.example>
            From: ned<sip:ned@biloxi.example>;tag=tight
            Max-Forwards: 70
            Call-ID: lwsdisp.2201
            CSeq: 5 OPTIONS
            Via: SIP/2.0/UDP pc.biloxi.example;branch=z9hG4bK-lws
            l: 0

            """
        ),
        200,
    ),
    Row(
        "longreq",
        "very long values, names and parameters, 34 Vias in every spelling",
        sip(
            f"""\
INVITE sip:rosa@atlanta.example SIP/2.0
To: "Her name is {"long" * 30} indeed"<sip:rosa@atlanta.example:6000;p1={"wide" * 25};{"name" * 25}=v;p3>
F: sip:{"caller" * 20}@biloxi.example;tag={"982" * 50};{"extra" * 30}={"param" * 30};valueless
Call-ID: longreq.{"really" * 25}long
CSeq: 770011 INVITE
X-{"Long-" * 20}Name: {"word" * 30}; {"param" * 20} = {"value" * 20}; flag
{_LONG_VIAS}Via: SIP/2.0/TCP pc.biloxi.example;received=198.51.100.9;branch={"branch" * 25}
Max-Forwards: 70
Contact: <sip:{"caller" * 20}@pc.biloxi.example>
Content-Type: application/sdp
l: {{length}}

""",
            SDP,
        ),
        405,
    ),
    Row(
        "dblreq",
        "a REGISTER whose datagram goes on with another request",
        sip(
            """\
            REGISTER sip:biloxi.example SIP/2.0
            To: sip:double@biloxi.example
            From: sip:double@biloxi.example;tag=d1
            Max-Forwards: 9
            I: dblreq.one.66113
            Contact: sip:double@pc.biloxi.example
            CSeq: 44 REGISTER
            Via: SIP/2.0/UDP 198.51.100.44;branch=z9hG4bK-dbl1
            Content-Length: 0


            INVITE sip:rosa@atlanta.example SIP/2.0
            t: sip:rosa@atlanta.example
            From: sip:ned@biloxi.example;tag=d2
            Max-Forwards: 9
            Call-ID: dblreq.two.66113
            CSeq: 44 INVITE
            Via: SIP/2.0/UDP 198.51.100.45;branch=z9hG4bK-dbl2
            Content-Type: application/sdp
            Content-Length: {length}

            """,
            SDP,
        ),
        200,
        answers=(200, 405),
        contacts=("<sip:double@pc.biloxi.example>",),
    ),
    Row(
        "semiuri",
        "; and an escaped @ inside the user part",
        sip(
            """\
            OPTIONS sip:ned;via=rosa%40atlanta.example@biloxi.example SIP/2.0
            To: sip:ned_b@biloxi.example
            From: sip:rosa@atlanta.example;tag=semi
            Max-Forwards: 4
            Call-ID: semiuri.10442
            CSeq: 12 OPTIONS
            Accept: application/sdp, text/plain,
                    multipart/*;q=0.5,
                    message/sipfrag
            Via: SIP/2.0/UDP 198.51.100.12;branch=z9hG4bK-semi
            l: 0

            """
        ),
        200,
    ),
    Row(
        "transports",
        "known, unknown and mixed transports in Via",
        sip(
            """\
            OPTIONS sip:rosa@atlanta.example SIP/2.0
            To: sip:rosa@atlanta.example
            From: <sip:ned@biloxi.example>;tag=tr
            Max-Forwards: 70
            Call-ID:  transports.87120
            Accept: application/sdp
            CSeq: 31 OPTIONS
            Via: SIP/2.0/UDP a.biloxi.example;branch=z9hG4bK-ta
            Via: SIP/2.0/WSS b.biloxi.example;branch=z9hG4bK-tb
            Via: SIP/2.0/TLS c.biloxi.example;branch=z9hG4bK-tc
            Via: SIP/2.0/CARRIER-PIGEON d.biloxi.example;branch=z9hG4bK-td
            Via: SIP/2.0/SCTP e.biloxi.example;branch=z9hG4bK-te
            l: 0

            """
        ),
        200,
    ),
    Row(
        "mpart01",
        "a multipart body of all octets, NUL and an empty line among them",
        sip(
            """\
            MESSAGE sip:rosa@atlanta.example SIP/2.0
            Via: SIP/2.0/UDP 198.51.100.70:5082;branch=z9hG4bK-mp;rport
            Max-Forwards: 70
            Route: <sip:198.51.100.1;lr>
            Identity: c2lnbmF0dXJlIG9mIG5vdGhpbmcgYXQgYWxs
            Contact: <sip:ned@198.51.100.70:5082>
            To: <sip:rosa@atlanta.example>
            From: <sip:ned@biloxi.example>;tag=mp1
            Call-ID: mpart01@bmVk
            CSeq: 1 MESSAGE
            Content-Transfer-Encoding: binary
            Content-Type: multipart/mixed;boundary=limit-42
            Date: Mon, 02 Mar 2026 08:00:00 GMT
            User-Agent: torture (own)
            Content-Length: {length}

            """,
            _MULTIPART,
        ),
        405,
    ),
    Row(
        "unreason",
        "a response whose reason phrase is punctuation and UTF-8",
        sip(
            """\
            SIP/2.0 200 = 10**2 + 10**2 で二百、終わり
            Via: SIP/2.0/UDP 198.51.100.33;branch=z9hG4bK-unr
            Call-ID: unreason.30211
            CSeq: 9 INVITE
            From: sip:rosa@atlanta.example;tag=u1
            To: sip:ned@biloxi.example;tag=u2
            Content-Length: {length}
            Content-Type: application/sdp
            Contact: <sip:ned@pc.biloxi.example>

            """,
            SDP,
        ),
        None,
    ),
    Row(
        "noreason",
        "a response with an empty reason phrase",
        sip(
            """\
            SIP/2.0 183\x20
            Via: SIP/2.0/UDP 198.51.100.34;branch=z9hG4bK-nor
            Call-ID: noreason.30212
            CSeq: 9 INVITE
            From: <sip:rosa@atlanta.example>;tag=n1
            To: <sip:ned@biloxi.example>;tag=n2
            Content-Length: 0
            Contact: <sip:ned@pc.biloxi.example>

            """
        ),
        None,
    ),
)

INVALID = (
    Row(
        "badinv01",
        "stray ; and , in Via and Contact",
        sip(
            """\
            INVITE sip:rosa@atlanta.example SIP/2.0
            To: sip:rosa@atlanta.example
            From: sip:ned@biloxi.example;tag=b1
            Max-Forwards: 8
            Call-ID: badinv01.73101
            CSeq: 21 INVITE
            Via: SIP/2.0/UDP 198.51.100.15;,;;,
            Contact: "Ned" <sip:ned@biloxi.example>;;;
            Content-Length: {length}
            Content-Type: application/sdp

            """,
            SDP,
        ),
        400,
    ),
    Row(
        "clerr",
        "Content-Length beyond the datagram",
        sip(
            """\
            INVITE sip:rosa@atlanta.example SIP/2.0
            Max-Forwards: 77
            To: sip:rosa@atlanta.example
            From: sip:ned@biloxi.example;tag=c1
            Contact: <sip:ned@pc.biloxi.example>
            Call-ID: clerr.73102
            CSeq: 22 INVITE
            Via: SIP/2.0/UDP pc.biloxi.example;branch=z9hG4bK-clerr
            Content-Type: application/sdp
            Content-Length: 8888

            """,
            SDP,
        ),
        400,
        stream=Stream.WAITS,
        answers=(),
    ),
    Row(
        "ncl",
        "negative Content-Length",
        sip(
            """\
            INVITE sip:rosa@atlanta.example SIP/2.0
            Max-Forwards: 200
            To: sip:rosa@atlanta.example
            From: sip:ned@biloxi.example;tag=n1
            Call-ID: ncl.73103
            CSeq: 0 INVITE
            Via: SIP/2.0/UDP 198.51.100.53;branch=z9hG4bK-ncl
            Contact: <sip:ned@pc.biloxi.example>
            Content-Type: application/sdp
            Content-Length: -17

            """,
            SDP,
        ),
        400,
        stream=Stream.CLOSED,
    ),
    Row(
        "scalar02",
        "overlarge CSeq, Max-Forwards, Expires and expires in a request",
        sip(
            """\
            REGISTER sip:biloxi.example SIP/2.0
            Via: SIP/2.0/TCP pc.biloxi.example;branch=z9hG4bK-sc2
            To: <sip:scalar@biloxi.example>
            From: <sip:scalar@biloxi.example>;tag=s2
            CSeq: 18446744073709551617 REGISTER
            Call-ID: scalar02.73104
            Max-Forwards: 1000
            Expires: 99999999999999999999999999999999999999999999999999
            Contact: <sip:scalar@pc.biloxi.example>
              ;expires=9007199254740993
            Content-Length: 0

            """
        ),
        400,
    ),
    Row(
        "scalarlg",
        "overlarge numbers in a response",
        sip(
            """\
            SIP/2.0 503 Later
            Via: SIP/2.0/TCP pc.biloxi.example;branch=z9hG4bK-slg;received=198.51.100.29
            To: <sip:rosa@atlanta.example>
            From: <sip:ned@biloxi.example>;tag=slg
            CSeq: 8888888888888888888888 OPTIONS
            Call-ID: scalarlg.73105
            Retry-After: 777777777777777777777777
            Warning: 9999 opera "Soon"
            Content-Length: 0

            """
        ),
        None,
    ),
    Row(
        "quotbal",
        "unterminated quoted string in To",
        sip(
            """\
            INVITE sip:rosa@atlanta.example SIP/2.0
            To: "Ms. Rosa <sip:rosa@atlanta.example>
            From: sip:ned@biloxi.example;tag=q1
            Max-Forwards: 11
            Call-ID: quotbal.73106
            Contact: <sip:ned@pc.biloxi.example>
            CSeq: 23 INVITE
            Via: SIP/2.0/UDP 198.51.100.59:5062;branch=z9hG4bK-qb
            Content-Type: application/sdp
            Content-Length: {length}

            """,
            SDP,
        ),
        400,
    ),
    Row(
        "ltgtruri",
        "Request-URI in angle brackets",
        sip(
            """\
            INVITE <sip:rosa@atlanta.example> SIP/2.0
            To: sip:rosa@atlanta.example
            From: sip:ned@biloxi.example;tag=lg
            Max-Forwards: 24
            Call-ID: ltgtruri.73107
            CSeq: 1 INVITE
            Via: SIP/2.0/UDP 198.51.100.5
            Contact: <sip:ned@pc.biloxi.example>
            Content-Type: application/sdp
            Content-Length: {length}

            """,
            SDP,
        ),
        400,
    ),
    Row(
        "lwsruri",
        "a blank inside the Request-URI",
        sip(
            """\
            INVITE sip:rosa@atlanta.example;user= phone SIP/2.0
            To: sip:rosa@atlanta.example;tag=lw2
            From: sip:ned@biloxi.example;tag=lw
            Max-Forwards: 6
            Call-ID: lwsruri.73108
            CSeq: 1999888777 INVITE
            Via: SIP/2.0/UDP 198.51.100.1:5060;branch=z9hG4bK-lwr
            Contact: <sip:ned@pc.biloxi.example>
            Content-Type: application/sdp
            Content-Length: {length}

            """,
            SDP,
        ),
        400,
    ),
    Row(
        "lwsstart",
        "more than one blank between the elements of the Request-Line",
        sip(
            """\
            INVITE   sip:rosa@atlanta.example  SIP/2.0
            Max-Forwards: 9
            To: sip:rosa@atlanta.example
            From: sip:ned@biloxi.example;tag=lws
            Call-ID: lwsstart.73109
            CSeq: 1893 INVITE
            Via: SIP/2.0/UDP pc.biloxi.example;branch=z9hG4bK-lst
            Contact: <sip:ned@pc.biloxi.example>
            Content-Type: application/sdp
            Content-Length: {length}

            """,
            SDP,
        ),
        400,
    ),
    Row(
        "trws",
        "blanks before the end of the Request-Line",
        sip(
            """\
            OPTIONS sip:rosa@atlanta.example SIP/2.0\x20\t
            Via: SIP/2.0/TCP pc.biloxi.example;branch=z9hG4bK-trws
            To: <sip:rosa@atlanta.example>
            From: <sip:ned@biloxi.example>;tag=tw
            Call-ID: trws.73110
            Accept: application/sdp
            CSeq: 2389 OPTIONS
            Max-Forwards: 70
            Content-Length: 0

            """
        ),
        400,
    ),
    Row(
        "escruri",
        "headers in the Request-URI",
        sip(
            """\
            INVITE sip:rosa@atlanta.example?Route=%3Csip:biloxi.example%3Blr%3E SIP/2.0
            To: sip:rosa@atlanta.example
            From: sip:ned@biloxi.example;tag=er
            Max-Forwards: 8
            Contact: <sip:ned@pc.biloxi.example>
            Call-ID: escruri.73111
            CSeq: 1492 INVITE
            Via: SIP/2.0/UDP pc.biloxi.example;branch=z9hG4bK-er
            Content-Type: application/sdp
            Content-Length: {length}

            """,
            SDP,
        ),
        400,
    ),
    Row(
        "baddate",
        "a Date whose zone is not GMT",
        sip(
            """\
            INVITE sip:rosa@atlanta.example SIP/2.0
            To: sip:rosa@atlanta.example
            From: sip:ned@biloxi.example;tag=bd
            Max-Forwards: 70
            Call-ID: baddate.73112
            CSeq: 13929 INVITE
            Via: SIP/2.0/UDP pc.biloxi.example;branch=z9hG4bK-bd
            Date: Mon, 02 Mar 2026 09:00:00 CET
            Contact: <sip:ned@pc.biloxi.example>
            Content-Type: application/sdp
            Content-Length: {length}

            """,
            SDP,
        ),
        405,
    ),
    Row(
        "regbadct",
        "a Contact with ? and no angle brackets",
        sip(
            """\
            REGISTER sip:biloxi.example SIP/2.0
            To: sip:badct@biloxi.example
            From: sip:badct@biloxi.example;tag=rb
            Max-Forwards: 70
            Call-ID: regbadct.73113@198.51.100.1
            CSeq: 1 REGISTER
            Via: SIP/2.0/UDP 198.51.100.13:5060;branch=z9hG4bK-rb
            Contact: sip:badct@biloxi.example?Route=%3Csip:edge.biloxi.example%3E
            l: 0

            """
        ),
        400,
    ),
    Row(
        "badaspec",
        "blanks inside the angle brackets of To",
        sip(
            """\
            OPTIONS sip:rosa@atlanta.example SIP/2.0
            Via: SIP/2.0/UDP pc.biloxi.example:5060;branch=z9hG4bK-bas
            Max-Forwards: 70
            From: "Biloxi, Ned of" <sip:ned@biloxi.example>;tag=ba
            To: "Atlanta, Rosa of" <\tsip:rosa@atlanta.example >
            Call-ID: badaspec.73114
            Accept: application/sdp
            CSeq: 39232 OPTIONS
            l: 0

            """
        ),
        400,
    ),
    Row(
        "baddn",
        "a comma in a display name without quotes",
        sip(
            """\
            OPTIONS sip:rosa@atlanta.example SIP/2.0
            Via:     SIP/2.0/UDP pc.biloxi.example:5060;branch=z9hG4bK-bdn
            Max-Forwards:      70
            From:    Biloxi, Ned of <sip:ned@biloxi.example>;tag=dn
            To:      Atlanta, Rosa of <sip:rosa@atlanta.example>
            Call-ID: baddn.73115@pc.biloxi.example
            Accept: application/sdp
            CSeq:    39233 OPTIONS
            l: 0

            """
        ),
        400,
    ),
    Row(
        "badvers",
        "a later SIP version",
        sip(
            """\
            OPTIONS sip:rosa@atlanta.example SIP/3.1
            Via:     SIP/3.1/UDP pc.biloxi.example;branch=z9hG4bK-bv
            Max-Forwards:     70
            From:    N. of Biloxi <sip:ned@biloxi.example>;tag=bv
            To:      R. of Atlanta <sip:rosa@atlanta.example>
            Call-ID: badvers.73116@pc.biloxi.example
            CSeq:    1 OPTIONS
            l: 0

            """
        ),
        505,
    ),
    Row(
        "mismatch01",
        "CSeq names another method",
        sip(
            """\
            OPTIONS sip:rosa@atlanta.example SIP/2.0
            To: sip:rosa@atlanta.example
            From: sip:ned@biloxi.example;tag=m1
            Max-Forwards: 7
            Call-ID: mismatch01.73117
            CSeq: 24 REGISTER
            Via: SIP/2.0/UDP pc.biloxi.example;branch=z9hG4bK-mm1
            l: 0

            """
        ),
        400,
    ),
    Row(
        "mismatch02",
        "CSeq names another method than an unknown one",
        sip(
            """\
            TELEPORT sip:rosa@atlanta.example SIP/2.0
            To: sip:rosa@atlanta.example
            From: sip:ned@biloxi.example;tag=m2
            Max-Forwards: 7
            Call-ID: mismatch02.73118
            CSeq: 25 OPTIONS
            Contact: <sip:ned@pc.biloxi.example>
            Via: SIP/2.0/UDP pc.biloxi.example;branch=z9hG4bK-mm2
            Content-Type: application/sdp
            l: {length}

            """,
            SDP,
        ),
        501,
    ),
    Row(
        "bigcode",
        "a status code beyond 32 bits",
        sip(
            """\
            SIP/2.0 4294967496 wraps around to 200
            Via: SIP/2.0/UDP 198.51.100.5;branch=z9hG4bK-bc
            Call-ID: bigcode.73119
            CSeq: 3534 INVITE
            From: <sip:rosa@atlanta.example>;tag=bc1
            To: <sip:ned@biloxi.example>;tag=bc2
            Content-Length: 0
            Contact: <sip:ned@pc.biloxi.example>

            """
        ),
        None,
    ),
)

TRANSACTION = (
    Row(
        "badbranch",
        "a branch that is the magic cookie and nothing else",
        sip(
            """\
            OPTIONS sip:rosa@atlanta.example SIP/2.0
            To: sip:rosa@atlanta.example
            From: sip:ned@biloxi.example;tag=bb
            Max-Forwards: 4
            Via: SIP/2.0/UDP 198.51.100.2;branch=z9hG4bK
            Accept: application/sdp
            Call-ID: badbranch.73120
            CSeq: 26 OPTIONS
            l: 0

            """
        ),
        200,
    ),
)

APPLICATION = (
    Row(
        "insuf",
        "no Call-ID, no From, no To",
        sip(
            """\
            INVITE sip:rosa@atlanta.example SIP/2.0
            CSeq: 1939 INVITE
            Via: SIP/2.0/UDP 198.51.100.96;branch=z9hG4bK-insuf
            Content-Type: application/sdp
            l: {length}

            """,
            SDP,
        ),
        400,
    ),
    Row(
        "unkscm",
        "a Request-URI scheme nobody knows",
        sip(
            """\
            OPTIONS neverheardof:some%20opaque=text SIP/2.0
            To: sip:rosa@atlanta.example
            From: sip:ned@biloxi.example;tag=us
            Max-Forwards: 4
            Call-ID: unkscm.73121
            CSeq: 3923 OPTIONS
            Via: SIP/2.0/TCP pc.biloxi.example;branch=z9hG4bK-us
            Content-Length: 0

            """
        ),
        416,
    ),
    Row(
        "novelsc",
        "a Request-URI scheme that exists, but not for SIP",
        sip(
            """\
            OPTIONS gopher+x.y://198.51.100.10:70/1 SIP/2.0
            To: sip:rosa@atlanta.example
            From: sip:ned@biloxi.example;tag=ns
            Max-Forwards: 4
            Call-ID: novelsc.73122
            CSeq: 3924 OPTIONS
            Via: SIP/2.0/TCP pc.biloxi.example;branch=z9hG4bK-ns
            Content-Length: 0

            """
        ),
        416,
    ),
    Row(
        "unksm2",
        "REGISTER whose To, From and Contact have schemes that name no address-of-record",
        sip(
            """\
            REGISTER sip:biloxi.example SIP/2.0
            To: doi:10.1000/182
            From: <ftp://files.biloxi.example>;tag=u2
            Call-ID: unksm2.73123@hyphen-ated.biloxi.example
            CSeq: 2349 REGISTER
            Max-Forwards: 70
            Via: SIP/2.0/UDP 198.51.100.22:5060;branch=z9hG4bK-us2
            Contact: <person:Ned_of_Biloxi>
            l: 0

            """
        ),
        400,
    ),
    Row(
        "bext01",
        "unknown option tags in Require and Proxy-Require",
        sip(
            """\
            OPTIONS sip:rosa@atlanta.example SIP/2.0
            To: sip:rosa@atlanta.example
            From: sip:ned@biloxi.example;tag=be
            Max-Forwards: 7
            Call-ID: bext01.73124
            Require: clairvoyance, timeTravel
            Proxy-Require: proxyTelepathy, proxyLevitation
            CSeq: 27 OPTIONS
            Via: SIP/2.0/TLS loop-and-hook.biloxi.example;branch=z9hG4bK-be
            Content-Length: 0

            """
        ),
        420,
        unsupported=("clairvoyance", "timeTravel"),
    ),
    Row(
        "invut",
        "a body of unknown type",
        sip(
            """\
            INVITE sip:rosa@atlanta.example SIP/2.0
            Contact: <sip:ned@pc.biloxi.example>
            To: sip:rosa@atlanta.example
            From: sip:ned@biloxi.example;tag=iu
            Max-Forwards: 70
            Call-ID: invut.73125
            CSeq: 2354 INVITE
            Via: SIP/2.0/UDP pc.biloxi.example;branch=z9hG4bK-iu
            Content-Type: application/x-smoke-signals
            Content-Length: {length}

            """,
            b'<smoke puffs="3"/>\r\n',
        ),
        405,
    ),
    Row(
        "regaut01",
        "credentials of an unknown scheme; a fetch, since authentication is off",
        sip(
            """\
            REGISTER sip:biloxi.example SIP/2.0
            To: sip:fetch@biloxi.example
            From: sip:fetch@biloxi.example;tag=ra
            Max-Forwards: 9
            Call-ID: regaut01.73126
            CSeq: 9339 REGISTER
            Via: SIP/2.0/TCP 198.51.100.25;branch=z9hG4bK-ra
            Authorization: Handshake firm=yes
            Content-Length:0

            """
        ),
        200,
    ),
    Row(
        "multi01",
        "headers that may occur once occur twice",
        sip(
            """\
            INVITE sip:rosa@atlanta.example SIP/2.0
            Contact: <sip:ned@one.biloxi.example>
            Via: SIP/2.0/UDP 198.51.100.26;branch=z9hG4bK-mu
            Max-Forwards: 70
            CSeq: 6 INVITE
            Call-ID: multi01.73127@198.51.100.1
            CSeq: 60 INVITE
            Call-ID: multi01.73127@198.51.100.2
            From: sip:ned@biloxi.example;tag=mu1
            To: sip:rosa@atlanta.example
            To: sip:iris@atlanta.example
            From: sip:otto@biloxi.example;tag=mu2
            Content-Type: application/sdp
            l: {length}
            Contact: <sip:ned@two.biloxi.example>
            Max-Forwards: 6

            """,
            SDP,
        ),
        400,
    ),
    Row(
        "mcl01",
        "two different Content-Lengths",
        sip(
            """\
            OPTIONS sip:rosa@atlanta.example SIP/2.0
            Via: SIP/2.0/UDP pc.biloxi.example;branch=z9hG4bK-mcl
            To: sip:rosa@atlanta.example
            From: sip:ned@biloxi.example;tag=mc
            Call-ID: mcl01.73128
            CSeq: 15933 OPTIONS
            Content-Length: 7
            Max-Forwards: 61
            Content-Length: 19
            Content-Type: text/plain

            """,
            b"Seven octets, or nineteen, or all of these?\r\n",
        ),
        400,
        stream=Stream.CLOSED,
    ),
    Row(
        "bcast",
        "a response whose second Via is the broadcast address",
        sip(
            """\
            SIP/2.0 200 OK
            Via: SIP/2.0/UDP 198.51.100.33;branch=z9hG4bK-bc1
            Via: SIP/2.0/UDP 255.255.255.255;branch=z9hG4bK-bc2
            Call-ID: bcast.73129
            CSeq: 36 INVITE
            From: sip:rosa@atlanta.example;tag=bc1
            To: sip:ned@biloxi.example;tag=bc2
            Content-Length: {length}
            Content-Type: application/sdp
            Contact: <sip:ned@pc.biloxi.example>

            """,
            SDP,
        ),
        None,
    ),
    Row(
        "zeromf",
        "Max-Forwards 0 at its destination",
        sip(
            """\
            OPTIONS sip:rosa@atlanta.example SIP/2.0
            To: sip:rosa@atlanta.example
            From: sip:ned@biloxi.example;tag=zm
            Call-ID: zeromf.73130
            CSeq: 39234 OPTIONS
            Via: SIP/2.0/UDP pc.biloxi.example;branch=z9hG4bK-zm
            Max-Forwards: 0
            Content-Length: 0

            """
        ),
        200,
    ),
    Row(
        "cparam01",
        "an unknown parameter after a Contact without angle brackets is a header parameter",
        sip(
            """\
            REGISTER sip:biloxi.example SIP/2.0
            Via: SIP/2.0/UDP pc.biloxi.example:5060;branch=z9hG4bK-cp1
            Max-Forwards: 70
            From: sip:cparam1@biloxi.example;tag=cp1
            To: sip:cparam1@biloxi.example
            Call-ID: cparam01.73131@pc.biloxi.example
            CSeq: 4 REGISTER
            Contact: sip:+15550100@gw.biloxi.example;mystery
            l: 0

            """
        ),
        200,
        contacts=("<sip:+15550100@gw.biloxi.example>;mystery",),
    ),
    Row(
        "cparam02",
        "an unknown parameter inside the angle brackets belongs to the URI",
        sip(
            """\
            REGISTER sip:biloxi.example SIP/2.0
            Via: SIP/2.0/UDP pc.biloxi.example:5060;branch=z9hG4bK-cp2
            Max-Forwards: 70
            From: sip:cparam2@biloxi.example;tag=cp2
            To: sip:cparam2@biloxi.example
            Call-ID: cparam02.73132@pc.biloxi.example
            CSeq: 5 REGISTER
            Contact: <sip:+15550100@gw.biloxi.example;mystery>
            l: 0

            """
        ),
        200,
        contacts=("<sip:+15550100@gw.biloxi.example;mystery>",),
    ),
    Row(
        "regescrt",
        "a contact URI with an escaped Route header",
        sip(
            """\
            REGISTER sip:biloxi.example SIP/2.0
            To: sip:escrt@biloxi.example
            From: sip:escrt@biloxi.example;tag=r
            Max-Forwards: 70
            Call-ID: regescrt.73133@198.51.100.1
            CSeq: 14399 REGISTER
            Via: SIP/2.0/UDP pc.biloxi.example;branch=z9hG4bK-re
            M: <sip:escrt@pc.biloxi.example?Route=%3Csip:edge.biloxi.example%3Blr%3E>
            L:0

            """
        ),
        200,
        contacts=("<sip:escrt@pc.biloxi.example?Route=%3Csip:edge.biloxi.example%3Blr%3E>",),
    ),
    Row(
        "sdp01",
        "Accept names only a type nobody can produce",
        sip(
            """\
            INVITE sip:rosa@atlanta.example SIP/2.0
            To: sip:rosa@atlanta.example
            Contact: <sip:ned@pc.biloxi.example>
            From: sip:ned@biloxi.example;tag=sd
            Max-Forwards: 6
            Call-ID: sdp01.73134
            Accept: text/hieroglyphs
            CSeq: 28 INVITE
            Via: SIP/2.0/UDP 198.51.100.16;branch=z9hG4bK-sd
            Content-Length: {length}
            Content-Type: application/sdp

            """,
            SDP,
        ),
        405,
    ),
)

OLDER = (
    Row(
        "inv2543",
        "an RFC 2543 peer: no branch, no From tag, no Max-Forwards, no Content-Length",
        sip(
            """\
            INVITE sip:Rosa@atlanta.example SIP/2.0
            Via: SIP/2.0/UDP gateway.biloxi.example
            From: <sip:+15550101@gateway.biloxi.example;user=phone>
            Record-Route: <sip:Rosa@atlanta.example;maddr=edge.atlanta.example>
            To: sip:+15550102@edge.atlanta.example;user=phone
            Call-ID: inv2543.73135@gateway.biloxi.example
            CSeq: 57 INVITE
            Content-Type: application/sdp

            """,
            SDP,
        ),
        405,
        stream=Stream.CLOSED,
        answers=(400,),
    ),
)

ROWS = VALID + INVALID + TRANSACTION + APPLICATION + OLDER
