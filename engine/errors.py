"""Every error that Lookalike raises on purpose: one class per *remedy*.

An error is one sentence: what is wrong, where, and what to do about it. `code` is stable and meant for programs;
`exit_code` is what the command line ends with (1: the work failed, 2: the call was wrong). How a class becomes an
HTTP status is decided in `webui/problems.py` and nowhere else.
"""

from typing import ClassVar


class LookalikeError(Exception):
    """The base of every error raised on purpose; its text is one sentence for a person."""

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1
    retry_after_s: float | None = None  # seconds after which it may have passed, where whoever raised it knows


class BadCall(LookalikeError):
    """Arguments that cannot be: send other ones."""

    code = "bad_call"
    exit_code = 2


class BadQuery(BadCall):
    """A query that cannot be answered: k out of range, no photo, two photos."""

    code = "bad_query"


class BadFilter(BadCall):
    """A filter that cannot be parsed, or names a facet that does not exist."""

    code = "bad_filter"


class BadRecipe(BadCall):
    """A recipe that cannot be followed: the sentence names the line and what would be right."""

    code = "bad_recipe"


class BadSetting(BadCall):
    """A setting out of range or of the wrong type."""

    code = "bad_setting"


class BadImage(LookalikeError):
    """Bytes that are no picture we accept: send a JPEG, PNG or WebP."""

    code = "bad_image"


class BadTable(LookalikeError):
    """A table that cannot be read, or lacks a column that is needed."""

    code = "bad_table"


class DuplicateId(LookalikeError):
    """Two products or two photos with one id: give each its own."""

    code = "duplicate_id"


class MissingFile(LookalikeError):
    """Something named does not exist: check the path or make it first."""

    code = "missing_file"


class UnknownProduct(LookalikeError):
    """No product has this id."""

    code = "unknown_product"


class UnknownPhoto(LookalikeError):
    """No photo has this id."""

    code = "unknown_photo"


class WrongModel(LookalikeError):
    """Vectors or an index made by another model: rebuild, or use the model that made them."""

    code = "wrong_model"


class WrongCatalogue(LookalikeError):
    """An index that belongs to another catalogue, or a catalogue whose change numbers went back."""

    code = "wrong_catalogue"


class LogTrimmed(LookalikeError):
    """Changes that a follower has not seen were forgotten: open the newest generation of the index, or build one."""

    code = "log_trimmed"


class DamagedFile(LookalikeError):
    """A file that is shorter, longer or other than its manifest says: restore or rebuild it."""

    code = "damaged_file"


class UnsupportedFormat(LookalikeError):
    """A file of a format number that this version does not know: use a newer Lookalike."""

    code = "unsupported_format"


class IndexMissing(LookalikeError):
    """A directory that holds no finished index: run `lookalike index` first."""

    code = "index_missing"


class EmptyCatalogue(LookalikeError):
    """A catalogue without a photo that can be read: import some first."""

    code = "empty_catalogue"


class BuildFailed(LookalikeError):
    """A build that could not be finished: what was done is kept; see to the reason and run it again."""

    code = "build_failed"


class Busy(LookalikeError):
    """Somebody else is writing: wait for them."""

    code = "busy"


class Unavailable(LookalikeError):
    """A service this needs (database, API) does not answer: start it, then try again."""

    code = "unavailable"


class Unauthorized(LookalikeError):
    """A request without an API key, or with one that is unknown or revoked: send one that `lookalike keys` made."""

    code = "unauthorized"


class Forbidden(LookalikeError):
    """An API key that may not do this: use one with the scope that the sentence names."""

    code = "forbidden"


class TooManyRequests(LookalikeError):
    """More requests than a key may send: wait `retry_after_s` seconds, then go on."""

    code = "too_many_requests"


class NotOffered(LookalikeError):
    """Something that this server was not started with: whoever runs it starts it with the option that is named."""

    code = "not_offered"


class MissingPackage(LookalikeError):
    """An optional part is not installed: the sentence names the extra that brings it."""

    code = "missing_package"


class TrainingFailed(LookalikeError):
    """Training cannot go on (the loss is not a number, say): the last good checkpoint is kept."""

    code = "training_failed"
