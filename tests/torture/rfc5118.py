"""RFC 5118: 12 rows on IPv6, each with a message of our own that has the row's oddity.

Hosts served: atlanta.example, biloxi.example, [2001:db8:5::10], [2001:db8:5::10:5082] and
[2001:db8:5::203.0.113.9].
"""

from tests.torture.row import Row, sip

_SDP6 = b"\r\n".join(
    (
        b"v=0",
        b"o=rosa 5118 5118 IN IP6 2001:db8:5::20",
        b"s=torture",
        b"c=IN IP6 2001:db8:5::20",
        b"t=0 0",
        b"m=audio 40002 RTP/AVP 8",
        b"",
    )
)
_SDP_MIXED = b"\r\n".join(
    (
        b"v=0",
        b"o=rosa 5118 5119 IN IP4 pc.biloxi.example",
        b"s=",
        b"t=0 0",
        b"m=audio 40004 RTP/AVP 8",
        b"c=IN IP4 198.51.100.20",
        b"m=video 40006 RTP/AVP 31",
        b"c=IN IP6 2001:db8:5::21",
        b"",
    )
)
_SDP_MAPPED = b"\r\n".join(
    (
        b"v=0",
        b"o=rosa 5118 5120 IN IP6 ::ffff:198.51.100.20",
        b"s=torture",
        b"c=IN IP6 ::ffff:198.51.100.20",
        b"t=0 0",
        b"m=audio 40008 RTP/AVP 8",
        b"",
    )
)

ROWS = (
    Row(
        "ipv6-good",
        "IPv6 references in Request-URI, Via and Contact",
        sip(
            """\
            REGISTER sip:[2001:db8:5::10] SIP/2.0
            To: sip:six@biloxi.example
            From: sip:six@biloxi.example;tag=6a
            Via: SIP/2.0/UDP [2001:db8:5::9:2];branch=z9hG4bK-6a
            Call-ID: good.5118@pc
            Max-Forwards: 70
            Contact: "Six" <sip:six@[2001:db8:5::2]>
            CSeq: 61 REGISTER
            Content-Length: 0

            """
        ),
        200,
        contacts=('"Six" <sip:six@[2001:db8:5::2]>',),
    ),
    Row(
        "ipv6-bad",
        "an IPv6 address without brackets in the Request-URI",
        sip(
            """\
            REGISTER sip:2001:db8:5::10 SIP/2.0
            To: sip:bare@biloxi.example
            From: sip:bare@biloxi.example;tag=6b
            Via: SIP/2.0/UDP [2001:db8:5::9:2];branch=z9hG4bK-6b
            Call-ID: bad.5118@pc
            Max-Forwards: 70
            Contact: "Bare" <sip:bare@[2001:db8:5::2]>
            CSeq: 62 REGISTER
            Content-Length: 0

            """
        ),
        400,
    ),
    Row(
        "port-ambiguous",
        "what looks like a port is the last group of the address",
        sip(
            """\
            REGISTER sip:[2001:db8:5::10:5082] SIP/2.0
            To: sip:within@biloxi.example
            From: sip:within@biloxi.example;tag=6c
            Via: SIP/2.0/UDP [2001:db8:5::9:2];branch=z9hG4bK-6c
            Call-ID: ambiguous.5118@pc
            Contact: "Within" <sip:within@[2001:db8:5::2]>
            Max-Forwards: 70
            CSeq: 63 REGISTER
            Content-Length: 0

            """
        ),
        200,
        contacts=('"Within" <sip:within@[2001:db8:5::2]>',),
    ),
    Row(
        "port-unambiguous",
        "a port after the brackets",
        sip(
            """\
            REGISTER sip:[2001:db8:5::10]:5082 SIP/2.0
            To: sip:after@biloxi.example
            From: sip:after@biloxi.example;tag=6d
            Via: SIP/2.0/UDP [2001:db8:5::9:2];branch=z9hG4bK-6d
            Call-ID: unambiguous.5118@pc
            Contact: "After" <sip:after@[2001:db8:5::2]>
            Max-Forwards: 70
            CSeq: 64 REGISTER
            Content-Length: 0

            """
        ),
        200,
        contacts=('"After" <sip:after@[2001:db8:5::2]>',),
    ),
    Row(
        "via-received-param-with-delim",
        "brackets in received",
        sip(
            """\
            BYE sip:[2001:db8:5::10] SIP/2.0
            To: sip:rosa@atlanta.example;tag=6e2
            From: sip:ned@biloxi.example;tag=6e1
            Via: SIP/2.0/UDP [2001:db8:5::9:2];received=[2001:db8:5::9:254];branch=z9hG4bK-6e
            Call-ID: delim.5118@pc
            Max-Forwards: 70
            CSeq: 65 BYE
            Content-Length: 0

            """
        ),
        405,
    ),
    Row(
        "via-received-param-no-delim",
        "no brackets in received",
        sip(
            """\
            OPTIONS sip:[2001:db8:5::10] SIP/2.0
            To: sip:rosa@atlanta.example
            From: sip:ned@biloxi.example;tag=6f
            Via: SIP/2.0/UDP [2001:db8:5::9:2];received=2001:db8:5::9:254;branch=z9hG4bK-6f
            Call-ID: nodelim.5118@pc
            Max-Forwards: 70
            Contact: "Ned" <sip:ned@[2001:db8:5::9:2]>
            CSeq: 66 OPTIONS
            Content-Length: 0

            """
        ),
        200,
    ),
    Row(
        "ipv6-in-sdp",
        "IPv6 in the body",
        sip(
            """\
            INVITE sip:rosa@[2001:db8:5::10] SIP/2.0
            To: sip:rosa@[2001:db8:5::10]
            From: sip:ned@biloxi.example;tag=6g
            Via: SIP/2.0/UDP [2001:db8:5::20];branch=z9hG4bK-6g
            Call-ID: insdp.5118@pc
            Contact: "Ned" <sip:ned@[2001:db8:5::20]>
            CSeq: 67 INVITE
            Max-Forwards: 70
            Content-Type: application/sdp
            Content-Length: {length}

            """,
            _SDP6,
        ),
        405,
    ),
    Row(
        "mult-ip-in-header",
        "IPv4 and IPv6 Vias, received of the other family",
        sip(
            """\
            BYE sip:rosa@biloxi.example SIP/2.0
            Via: SIP/2.0/UDP [2001:db8:5::9:2]:6052;branch=z9hG4bK-6h1
            Via: SIP/2.0/UDP 198.51.100.1;branch=z9hG4bK-6h2
            Via: SIP/2.0/TCP [2001:db8:5::9:253];branch=z9hG4bK-6h3;received=198.51.100.200
            Call-ID: both.5118@pc
            Max-Forwards: 70
            CSeq: 68 BYE
            To: sip:rosa@biloxi.example;tag=6h--2
            From: sip:ned@biloxi.example;tag=6h1
            Content-Length: 0

            """
        ),
        405,
    ),
    Row(
        "mult-ip-in-sdp",
        "IPv4 and IPv6 in the body",
        sip(
            """\
            INVITE sip:rosa@[2001:db8:5::10] SIP/2.0
            To: sip:rosa@[2001:db8:5::10]
            From: sip:ned@biloxi.example;tag=6i
            Via: SIP/2.0/UDP [2001:db8:5::9:2];branch=z9hG4bK-6i
            Call-ID: bothsdp.5118@pc
            Contact: "Ned" <sip:ned@[2001:db8:5::9:2]>
            Max-Forwards: 70
            CSeq: 69 INVITE
            Content-Type: application/sdp
            Content-Length: {length}

            """,
            _SDP_MIXED,
        ),
        405,
    ),
    Row(
        "ipv4-mapped-ipv6",
        "IPv4-mapped addresses, one with a port",
        sip(
            """\
            INVITE sip:rosa@atlanta.example SIP/2.0
            To: sip:rosa@atlanta.example
            From: sip:ned@east.biloxi.example;tag=6j
            Via: SIP/2.0/UDP [::ffff:198.51.100.10]:19824;branch=z9hG4bK-6j1
            Via: SIP/2.0/UDP [::ffff:198.51.100.2];branch=z9hG4bK-6j2
            Call-ID: mapped.5118@pc
            Contact: "N. desk phone" <sip:ned@[::ffff:198.51.100.2]>
            CSeq: 70 INVITE
            Max-Forwards: 70
            Content-Type: application/sdp
            Content-Length: {length}

            """,
            _SDP_MAPPED,
        ),
        405,
    ),
    Row(
        "ipv6-bug-abnf-3-colons",
        "the third colon of the RFC 3261 grammar before an embedded IPv4 address",
        sip(
            """\
            OPTIONS sip:rosa@[2001:db8:5:::203.0.113.9] SIP/2.0
            To: sip:rosa@[2001:db8:5:::203.0.113.9]
            From: sip:ned@biloxi.example;tag=6k
            Via: SIP/2.0/UDP lab.biloxi.example;branch=z9hG4bK-6k
            Call-ID: three.5118@pc
            CSeq: 71 OPTIONS
            Max-Forwards: 70
            Content-Length: 0

            """
        ),
        200,
    ),
    Row(
        "ipv6-correct-abnf-2-colons",
        "two colons before an embedded IPv4 address",
        sip(
            """\
            OPTIONS sip:rosa@[2001:db8:5::203.0.113.9] SIP/2.0
            To: sip:rosa@[2001:db8:5::203.0.113.9]
            From: sip:ned@biloxi.example;tag=6l
            Via: SIP/2.0/UDP lab.biloxi.example;branch=z9hG4bK-6l
            Call-ID: two.5118@pc
            CSeq: 72 OPTIONS
            Max-Forwards: 70
            Content-Length: 0

            """
        ),
        200,
    ),
)
