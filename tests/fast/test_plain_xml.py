"""Plain documents read without lxml: the same comes out, and what is not plain is left to it (SEC-4, XML-1).

A comment behind a document says nothing and makes it a document for lxml.
"""

import subprocess
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reginfo.fast import Reginfo, SipParseError, parse_reginfo
from tests.fast.test_reginfo_xml import GOLDEN

PLAIN = b"""<?xml version="1.0"?>
<reginfo xmlns="urn:ietf:params:xml:ns:reginfo" xmlns:gr="urn:ietf:params:xml:ns:gruuinfo"
    xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" version="0" state="full">
  <registration aor="sip:user@example.com" id="as9" state="active">
    <contact id="76" state="active" event="registered" q="0.8" expires='12' callid="&amp;&lt;&gt;&quot;&apos;">
      <uri>sip:user@pc887.example.com;x=%41&amp;y</uri><display-name xml:lang="en">A "B" ] C</display-name>
      <unknown-param name="+sip.instance">"&lt;urn:uuid:f81d4fae&gt;"</unknown-param>
      <gr:pub-gruu uri="sip:user@example.com;gr=1"/><gr:temp-gruu uri="sip:t@e" first-cseq="5" />
      <x:y xmlns:x="urn:x" x:a="b" a="c"><z/></x:y>
    </contact>
  </registration>
</reginfo>
"""

ODD = (
    *(b"<", b">", b"/", b'"', b"'", b"=", b":", b"%", b" ", b"\n", b"\r", b"\t", b"\0", b"\x7f", b"\xff", b"\xc3\xa9"),
    *(b"&amp;", b"&#65;", b"&#x26;", b"&", b"&nbsp;", b"]]", b"]]>", b"-->", b"<!---->", b"<![CDATA[x]]>", b"<?a b?>"),
    *(b"<a/>", b"<a>", b"</a>", b"<gr:x/>", b"<q:x/>", b"<!DOCTYPE x>", b"<_.-a/>", b"<1/>", b"<a:b:c/>", b"<xml:a/>"),
    *(b' id="x" ', b' a:b="1" ', b' gr:b="1" gr:b="2" ', b' xml:lang="e" ', b" xml:id='q' ", b' xml:space="w" '),
    *(
        b' xmlns="" ',
        b' xmlns="urn:x" ',
        b' xmlns:a="urn:x" ',
        b' xmlns:gr="urn:x" ',
        b' xmlns:a="" ',
        b' xmlns:xml="x" ',
    ),
    *(
        b' xmlns:a="u*:x" ',
        b' xmlns:a="http://a:b/" ',
        b' xmlns:a="x" ',
        b' xmlns:xmlns="urn:x" ',
        b' xmlns:a="urn:x y" ',
    ),
    *(b' xmlns:a="urn:x" xmlns:b="urn:x" a:c="1" b:c="2" ', b' xmlns:a="http://www.w3.org/XML/1998/namespace" '),
)


def outcome(octets: bytes) -> Reginfo | None:
    try:
        return parse_reginfo(octets)
    except SipParseError:
        return None


edits = st.lists(
    st.tuples(
        st.integers(0, len(PLAIN)),
        st.integers(0, 3),
        st.sampled_from(ODD)
        | st.binary(max_size=2)
        | st.builds(lambda at, n: PLAIN[at : at + n], st.integers(0, len(PLAIN)), st.integers(0, 40)),
    ),
    max_size=3,
)


@given(edits)
@example([])
def test_whether_lxml_reads_it_makes_no_difference(edits: list[tuple[int, int, bytes]]) -> None:
    """SEC-4: also where only one of both would find a fault."""
    octets = PLAIN
    for at, n, new in edits:
        octets = octets[:at] + new + octets[at + n :]
    assert outcome(octets) == outcome(octets + b"<!---->")


@pytest.mark.parametrize(
    "place", [b" version=", b" id=", b"<uri>", b"sip:user@pc", b"<x:y", b" x:a", b"</x:y>", b"\n</reg"]
)
@pytest.mark.parametrize("odd", ODD)
def test_what_looks_odd_means_what_lxml_says(place: bytes, odd: bytes) -> None:
    octets = PLAIN.replace(place, odd + place, 1)
    assert octets != PLAIN
    assert outcome(octets) == outcome(octets + b"<!---->")


def test_every_beginning_is_refused() -> None:
    end = len(PLAIN.rstrip())
    assert [n for n in range(end) if outcome(PLAIN[:n]) is not None] == []
    assert outcome(PLAIN[:end]) == outcome(PLAIN) is not None


@pytest.mark.parametrize(("document", "loads"), [(PLAIN, False), (GOLDEN, False), (PLAIN + b"<!---->", True)])
def test_what_peers_write_does_not_take_lxml(document: bytes, loads: bool) -> None:
    code = f"import sys, reginfo.fast as f; f.parse_reginfo({document!r}); print('lxml.etree' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == f"{loads}\n"
