"""Request bodies -> what they ask for, without touching a disk."""

from collections.abc import Collection
from io import BytesIO
from typing import IO, Any, TypeVar

from flask import Request
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json
from werkzeug.exceptions import UnsupportedMediaType
from werkzeug.formparser import FormDataParser

from engine.errors import BadQuery
from webui import wire
from webui.api.errors import MalformedBody
from webui.problems import of_fields
from webui.requests import product_of_form

Model = TypeVar("Model", bound=BaseModel)


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
    """The search in a request's body. Raises what `read_json` and `read_form` do."""
    if _is_form(request):
        return read_form(request, wire.SearchForm, several={"filter"})
    return read_json(request, wire.SearchRequest)


def read_predict(request: Request) -> wire.PredictRequest | wire.PredictForm:
    """The photo to be looked at in a request's body. Raises what `read_json` and `read_form` do."""
    return read_form(request, wire.PredictForm) if _is_form(request) else read_json(request, wire.PredictRequest)


def read_product(request: Request) -> wire.ProductRequest:
    """The product in a request's body. Raises what `read_json` and `read_form` do."""
    if not _is_form(request):
        return read_json(request, wire.ProductRequest)
    form = read_form(request, wire.ProductForm, several={"photo"})
    try:
        facets: Any = {} if form.facets is None else from_json(form.facets, allow_inf_nan=False)
        if not isinstance(facets, dict):
            raise ValueError("it is no object")
    except ValueError as error:
        raise BadQuery(f"The field 'facets' is no JSON object ({error}); check its brackets and quotes.") from None
    try:
        return product_of_form(form, facets)
    except ValidationError as error:
        raise of_fields(error, wire.ProductForm) from None


def read_json(request: Request, model: type[Model]) -> Model:
    """A JSON body as `model`.

    Raises BadQuery for fields that cannot be, MalformedBody for a body that is no JSON, and UnsupportedMediaType for
    other content types.
    """
    if request.mimetype != "application/json":
        raise UnsupportedMediaType
    try:
        # strict: "5" is no number and true is not 1
        return model.model_validate_json(request.get_data(cache=False), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if first["type"] == "json_invalid":
            raise MalformedBody(f"The body is no JSON ({first['ctx']['error']}); send it well-formed.") from None
        raise of_fields(error, model) from None


def read_form(request: Request, model: type[Model], several: Collection[str] = ()) -> Model:
    """A multipart/form-data body as `model`, in which the fields `several` may come more than once.

    Raises BadQuery for fields that cannot be, MalformedBody for a body that is no form.
    """
    try:
        texts, files = request.form, request.files
    except ValueError as error:
        raise MalformedBody(f"The body is no multipart/form-data ({error}); send it well-formed.") from None
    fields: dict[str, object] = {}
    for name, values in texts.lists():
        # A form may repeat any field. A list fails where one value is wanted.
        fields[name] = values if name in several or len(values) > 1 else values[0]
    for name, uploads in files.lists():
        contents = [upload.read() for upload in uploads]
        fields[name] = contents if name in several or len(contents) > 1 else contents[0]
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        raise of_fields(error, model) from None


def _is_form(request: Request) -> bool:
    return request.mimetype == "multipart/form-data"
