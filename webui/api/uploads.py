"""Request bodies -> the search they ask for, without touching a disk."""

from io import BytesIO
from typing import IO

from flask import Request
from pydantic import ValidationError
from werkzeug.exceptions import UnsupportedMediaType
from werkzeug.formparser import FormDataParser

from webui import wire
from webui.api.errors import MalformedBody
from webui.problems import of_fields


class InMemoryRequest(Request):
    """A request whose uploads stay in memory: nobody's photo ends up in a temporary file.

    The server bounds the bytes of a request, and with them the memory. A form that cannot be parsed is an error here;
    Flask would take it for an empty one.
    """

    def make_form_data_parser(self) -> FormDataParser:
        return FormDataParser(
            stream_factory=_in_memory,
            max_form_memory_size=self.max_form_memory_size,
            max_content_length=self.max_content_length,
            max_form_parts=self.max_form_parts,
            silent=False,
            cls=self.parameter_storage_class,
        )


def _in_memory(*_: object, **__: object) -> IO[bytes]:
    return BytesIO()


def read_search(request: Request) -> wire.SearchRequest | wire.SearchForm:
    """The search in a request's body: JSON or a form.

    Raises BadQuery for fields that cannot be, MalformedBody for a body that is not what its content type says, and
    UnsupportedMediaType for other content types.
    """
    if request.mimetype == "application/json":
        return _read_json(request.get_data(cache=False))
    if request.mimetype == "multipart/form-data":
        return _read_form(request)
    raise UnsupportedMediaType


def _read_json(data: bytes) -> wire.SearchRequest:
    try:
        # strict: "5" is no number and true is not 1
        return wire.SearchRequest.model_validate_json(data, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if first["type"] == "json_invalid":
            raise MalformedBody(f"The body is no JSON ({first['ctx']['error']}); send it well-formed.") from None
        raise of_fields(error, wire.SearchRequest) from None


def _read_form(request: Request) -> wire.SearchForm:
    try:
        texts, files = request.form, request.files
    except ValueError as error:
        raise MalformedBody(f"The body is no multipart/form-data ({error}); send it well-formed.") from None
    fields: dict[str, object] = {}
    for name, values in texts.lists():
        # A form may repeat any field; only several filters mean something. A list fails where one value is wanted.
        fields[name] = values if name == "filter" or len(values) > 1 else values[0]
    for name, uploads in files.lists():
        contents = [upload.read() for upload in uploads]
        fields[name] = contents if len(contents) > 1 else contents[0]
    try:
        return wire.SearchForm.model_validate(fields)
    except ValidationError as error:
        raise of_fields(error, wire.SearchForm) from None
