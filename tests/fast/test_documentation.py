"""Every public name of reginfo.fast is reachable; the examples of its page are run by tests/docs."""

import reginfo.fast


def test_public_names_are_there_once() -> None:
    assert len(set(reginfo.fast.__all__)) == len(reginfo.fast.__all__)
    assert all(hasattr(reginfo.fast, name) for name in reginfo.fast.__all__)
