def digest_ha1(algorithm: str, username: str, realm: str, password: str) -> str: ...
def digest_userhash(algorithm: str, username: str, realm: str) -> str: ...
def digest_session_ha1(algorithm: str, ha1: str, nonce: str, cnonce: str) -> str: ...
def digest_response(
    algorithm: str,
    ha1: str,
    method: str,
    uri: str,
    nonce: str,
    *,
    qop: str = "",
    nc: str = "",
    cnonce: str = "",
    body: bytes = b"",
) -> str: ...
