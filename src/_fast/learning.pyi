from reginfo._fast.binding import Draft
from reginfo._fast.reginfo_xml import ReginfoRegistration

def learn_registration(
    draft: Draft,
    said: ReginfoRegistration,
    origin: str,
    *,
    full: bool,
    until_ms: int,
    now_ms: int,
    mirror: bool = False,
) -> None: ...
