"""What a wheel has to do where it is installed, with nothing but its dependencies: parse, write, name its version."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import reginfo
from reginfo.fast import parse_message

REGISTER = (
    b"REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nTo: <sip:alice@example.com>\r\n"
    b"From: <sip:alice@example.com>;tag=1\r\nCall-ID: 1@192.0.2.1\r\nCSeq: 1 REGISTER\r\nMax-Forwards: 70\r\n"
    b"Contact: <sip:alice@192.0.2.1>\r\nContent-Length: 0\r\n\r\n"
)

message = parse_message(REGISTER)
assert (message.method, message.call_id) == ("REGISTER", "1@192.0.2.1")
assert reginfo.__version__ == version("reginfo")
program = Path(sys.executable).with_name("reginfo")
said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
assert said.stdout == f"reginfo {version('reginfo')}\n", said.stdout
