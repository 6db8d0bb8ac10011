"""What to do about each kind of problem: the `hint` of an answer, and the entries under `/docs#<code>`.

The sentence of an error (`detail`) says what is wrong with this very request; a hint is the same for all of its kind.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Hint:
    """When a problem is answered, and what to do then."""

    when: str
    remedy: str


HINTS: dict[str, Hint] = {
    "malformed_request": Hint(
        "The body is not the JSON or the form that its content type says, or the request is no HTTP.",
        "Send well-formed JSON in UTF-8, or a form as browsers and curl -F do.",
    ),
    "unauthorized": Hint(
        "The server wants a key and the request has none, or one that is unknown or revoked.",
        "Send Authorization: Bearer <key>; whoever runs the server makes keys with `lookalike keys create`.",
    ),
    "forbidden": Hint("The key may read and not write.", "Use a key of scope write."),
    "not_offered": Hint(
        "The server was started without this: writing, photos by URL, or feedback.",
        "Do without it, or ask whoever runs the server to switch it on.",
    ),
    "not_found": Hint("There is nothing at this address.", "Take the addresses from this page or /openapi.json."),
    "unknown_product": Hint(
        "No product of this id can be found.",
        "Take ids from answers; a product that was just written is found once it has a photo, within a second.",
    ),
    "unknown_photo": Hint("No photo of this id can be shown.", "Take the ids of photos from answers."),
    "method_not_allowed": Hint(
        "The address does not take this method.", "The answer's Allow header says which it takes."
    ),
    "request_timeout": Hint("The request did not arrive in time.", "Send it again, over a faster line or smaller."),
    "too_large": Hint(
        "The body, or one of its parts, has more bytes than any photo may have.",
        "Send a smaller photo: a longer side of 1024 pixels is as good as more.",
    ),
    "wrong_content_type": Hint(
        "The body is neither application/json nor multipart/form-data.", "Say what the body is with Content-Type."
    ),
    "bad_query": Hint(
        "A field is missing, unknown, of the wrong type or out of range.",
        "Compare the fields with those described on this page.",
    ),
    "bad_call": Hint(
        "A value cannot be what it is given for.", "Compare the values with those described on this page."
    ),
    "bad_filter": Hint(
        "The filter cannot be read, names no facet, or asks of a facet what it does not have.",
        "GET /v1/facets lists the facets with their types and values.",
    ),
    "bad_image": Hint(
        "The photo is empty, damaged, no JPEG, PNG or WebP, or has too many bytes or pixels.",
        "Send a JPEG, PNG or WebP that other programs open; a longer side of 1024 pixels is enough.",
    ),
    "bad_url": Hint(
        "The address is not one that the server asks, or what is there cannot be fetched.",
        "Give an http or https address of a public server, or send the photo itself.",
    ),
    "too_many_requests": Hint(
        "More requests came with this key than it may send.", "Wait for as long as Retry-After says."
    ),
    "headers_too_large": Hint("The headers have too many bytes.", "Send fewer or shorter ones."),
    "internal": Hint("The server made a mistake.", "Tell whoever runs the server; its log describes it."),
    "busy": Hint("More is asked than can be answered now.", "Try again after as long as Retry-After says."),
    "unavailable": Hint(
        "The index or the catalogue's database does not answer.", "Try again after as long as Retry-After says."
    ),
    "index_missing": Hint("There is no finished index.", "Try again later; the server's log says why."),
    "missing_file": Hint(
        "A file of the index or the catalogue is gone.", "Try again later; the server's log says why."
    ),
    "damaged_file": Hint("A file of the index is damaged.", "Try again later; the server's log says why."),
    "unsupported_format": Hint("The index was made by another version.", "Try again later; the server's log says why."),
    "wrong_model": Hint("Index and model do not belong together.", "Try again later; the server's log says why."),
    "wrong_catalogue": Hint(
        "Index and catalogue do not belong together.", "Try again later; the server's log says why."
    ),
    "log_trimmed": Hint("The index is too old to be followed from.", "Try again later; the server's log says why."),
}

OTHERWISE = Hint("Something else is wrong.", "The detail says what.")


def hint_of(code: str) -> Hint:
    """The hint for a problem's code."""
    return HINTS.get(code, OTHERWISE)


def link_to(code: str) -> str:
    """Where a kind of problem is described, on this server."""
    return f"/docs#{code}" if code in HINTS else "/docs#problems"
