"""Errors on the wire."""

from webui.wire.base import Answer


class Problem(Answer):
    """Every error: RFC 9457, as application/problem+json. `code` is stable and meant for programs, `detail` says what
    is wrong, `hint` what to do, `type` where this kind of problem is described."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    hint: str = ""
