"""Where resources answer: under `/v1`, which is described, and without it, as before there were versions."""

from dataclasses import dataclass

from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag


@dataclass(frozen=True, slots=True)
class Mount:
    """An address under which all resources answer."""

    prefix: str
    described: bool

    def blueprint(self, name: str, tag: str) -> APIBlueprint:
        """An empty resource here; `tag` is the heading under which it is described."""
        return APIBlueprint(
            f"{name}{self.prefix.replace('/', '-')}",
            __name__,
            abp_tags=[Tag(name=tag)],
            url_prefix=self.prefix or None,
            doc_ui=self.described,
        )


V1 = Mount("/v1", described=True)
PLAIN = Mount("", described=False)
ROOT = Mount("", described=True)
