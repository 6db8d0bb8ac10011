"""A table of photos -> the catalogue.

Three readings of the table, none of which keeps its rows: what the columns are (`survey`), what they say about the
products (`gather`), and the photos. Only the last one writes, a batch of rows per transaction, and each batch is read
and hashed before its transaction begins. So a table that cannot be imported changes nothing, a kill loses one batch at
most, and the same import again goes on, or finds nothing to do.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from engine.catalogue.schema import FacetType
from engine.catalogue.store import Catalogue
from engine.catalogue.writer import Effect, NewPhoto, Writer
from engine.errors import BadCall, BadImage, BadTable, DamagedFile, MissingFile
from engine.search.filters import Filter, require_names
from engine.settings import thread_count
from engine.sources.photos import ParquetPhotos, PhotoSource, open_photos, read_photo
from engine.sources.tables import PROBLEM, columns, read_rows
from engine.telemetry import SILENT, Progress
from engine.vision.image import check_header
from indexer.gather import Gathered, Row, gather, photo_columns_of, product_id_of, selected
from indexer.import_replace import Deleted, batches, delete_the_rest
from indexer.import_report import ImportReport, Rejected, check_rejected_path, report_facets, write_rejected
from indexer.survey import TITLE, Columns, Known, survey

BATCH_ROWS = 500  # rows per transaction


def import_table(
    catalogue: Catalogue,
    table: Path,
    images: Path | None,
    *,
    where: Filter | None = None,
    facet_types: Mapping[str, FacetType] | None = None,
    photo_columns: Collection[str] = (),
    replace: bool = False,
    product_column: str = "product_id",
    image_column: str = "image",
    rejected: Path | None = None,
    progress: Progress = SILENT,
) -> ImportReport:
    """Brings the rows of `table` that pass `where` into the catalogue.

    Without `replace` nothing is deleted: a stored title or facet value that the table lacks stays. With it, the
    catalogue has afterwards what the selected rows have and nothing else; only products with rejected rows keep what
    they had. `facet_types` and `photo_columns` say what a column is where the table would tell otherwise. Rejected rows
    are listed in `rejected`, by default rejected.csv beside the catalogue's file.

    Raises:
        BadTable: a column is missing, or there is no row to import; nothing was changed.
        BadCall, BadFilter: the arguments do not fit the table or the catalogue.
        MissingFile, DamagedFile: the table, or the folder or tar of photos, is not there or cannot be read.
    """
    types = dict(facet_types or {})
    names = check_columns(table, product_column, image_column, where, {*types, *photo_columns})
    rejected_path = rejected or _beside(catalogue) / "rejected.csv"
    check_rejected_path(rejected_path)
    source = open_photos(table, images)
    known = _known(catalogue, types, photo_columns, replace)

    progress.start(f"Reading {table.name}")
    layout = survey(_good_rows(table, progress), names, product_column, known)
    gathered = gather(selected(table, where), layout, product_column)
    if not gathered.rows:
        raise BadTable(f"No row of {table} passes, so there is nothing to import; check --where.")

    progress.start("Importing photos", total=gathered.rows)
    work = _Import(catalogue, source, layout, gathered, product_column, image_column, replace)
    for batch in batches(selected(table, where), BATCH_ROWS):
        work.take(batch)
        progress.advance(len(batch))
    written = write_rejected(rejected_path, work.rejected)
    if not work.accepted:
        first = work.rejected[0]
        raise BadTable(f"No row of {table} could be imported, {written} says why; row {first.row}: {first.reason}")
    if replace:
        progress.start("Deleting what the table lacks")
        work.delete_the_rest(progress)
    progress.finish()
    return work.report(written)


def check_columns(
    table: Path,
    product_column: str = "product_id",
    image_column: str = "image",
    where: Filter | None = None,
    declared: Collection[str] = (),
) -> list[str]:
    """The columns that can become facets or photo columns, once everything asked for is found to be in the table.

    Raises what `import_table` raises for a wrong table or call, so that this can be known before there is a catalogue.
    """
    names = columns(table)
    has = ", ".join(names)
    for column, option in ((product_column, "--product-column"), (image_column, "--image-column")):
        if column not in names:
            raise BadTable(f"{table} has no column {column!r} (it has {has}); name it with {option} or rename it.")
    if where is not None:
        require_names(where, names, "column")
    reserved = {product_column, image_column, TITLE}
    for name in sorted(declared):
        if name in reserved:
            raise BadCall(f"The column {name!r} of {table} has its own meaning and cannot be declared; leave it out.")
        if name not in names:
            raise BadCall(f"{table} has no column {name!r} (it has {has}); correct its name.")
    if table.suffix.lower() in (".parquet", ".pq"):
        reserved.update(ParquetPhotos.columns_of(table))
    return [name for name in names if name not in reserved]


def _beside(catalogue: Catalogue) -> Path:
    return Path() if catalogue.path is None else catalogue.path.parent


def _known(
    catalogue: Catalogue, declared: Mapping[str, FacetType], photo_columns: Collection[str], replace: bool
) -> Known:
    with catalogue.snapshot() as view:
        facets = {facet.name: facet.type for facet in view.facets}
        known = Known(declared, photo_columns, facets, view.photo_columns())
    if both := sorted(declared.keys() & set(photo_columns)):
        raise BadCall(f"{both[0]!r} is declared as a facet and as a photo column; leave one of the two out.")
    if replace:
        return known
    for name in (*declared, *photo_columns):
        if name in facets and facets[name] != declared.get(name):
            raise BadCall(
                f"{name!r} is a {facets[name]} facet in {catalogue.name} and its products have it; leave its "
                "declaration out, or import everything anew with --replace."
            )
    return known


def _good_rows(table: Path, progress: Progress) -> Iterator[Row]:
    for _, row in read_rows(table):
        progress.advance()
        if PROBLEM not in row:
            yield row


@dataclass
class _Import:
    """The writing part of one import: takes the rows batch by batch and counts what became of them."""

    catalogue: Catalogue
    source: PhotoSource
    layout: Columns
    gathered: Gathered
    product_column: str
    image_column: str
    replace: bool

    accepted: int = 0
    rejected: list[Rejected] = field(default_factory=list)
    products: set[str] = field(default_factory=set)  # written by this import
    photos: set[tuple[str, str]] = field(default_factory=set)  # their (product_id, content hash) …
    photo_ids: set[int] = field(default_factory=set)  # … and ids
    product_effects: Counter[Effect] = field(default_factory=Counter)
    photo_effects: Counter[Effect] = field(default_factory=Counter)
    deleted: Deleted = field(default_factory=Deleted)

    def take(self, batch: Sequence[tuple[int, Row]]) -> None:
        """Reads the photos of a batch, then writes what is good in one transaction."""
        with ThreadPoolExecutor(thread_count()) as pool:
            results = list(pool.map(self._read, batch))
        photos = []
        for (number, row), result in zip(batch, results, strict=True):
            if isinstance(result, str):
                self._reject(number, row, result)
                continue
            self.accepted += 1
            key = (result.product_id, result.content_hash)
            if key not in self.photos:
                self.photos.add(key)
                photos.append(result)
        if photos:
            self._write(photos)

    def _read(self, numbered: tuple[int, Row]) -> NewPhoto | str:
        """The row's photo, its bytes looked at once; or why the row is rejected."""
        number, row = numbered
        if number in self.gathered.rejected:
            return self.gathered.rejected[number]
        try:
            uri = self.source.locate(dict(row), number, self.image_column)
            data = read_photo(uri)
            check_header(data, str(row[self.image_column]))
            return NewPhoto(
                product_id_of(row, self.product_column),
                sha256(data).hexdigest(),
                uri,
                photo_columns_of(row, self.layout),
            )
        except (BadImage, BadTable, DamagedFile, MissingFile, ValueError) as error:
            return str(error)

    def _reject(self, number: int, row: Row, reason: str) -> None:
        product_id, image = (row.get(name) for name in (self.product_column, self.image_column))
        self.rejected.append(Rejected(number, str(product_id or ""), str(image or ""), reason))
        if product_id is not None:
            self.gathered.doubtful.add(str(product_id))

    def _write(self, photos: Sequence[NewPhoto]) -> None:
        new = list(dict.fromkeys(photo.product_id for photo in photos if photo.product_id not in self.products))
        with self.catalogue.transaction() as writer:
            if not self.products:
                self._declare(writer)
            products = [self.gathered.product(product_id) for product_id in new]
            product_effects = writer.upsert_products(products, keep=not self.replace)
            photo_effects = writer.add_photos(photos)
        self.products.update(new)
        self.product_effects.update(product_effects)
        self.photo_ids.update(photo_id for photo_id, _ in photo_effects)
        self.photo_effects.update(effect for _, effect in photo_effects)

    def _declare(self, writer: Writer) -> None:
        types = {facet.name: facet.type for facet in self.layout.facets}
        if self.replace:
            for facet in writer.facets:
                if facet.name in self.layout.photo or facet.type is not types.get(facet.name, facet.type):
                    writer.drop_facet(facet.name)
        writer.forget_photo_columns(types)
        writer.note_photo_columns(self.layout.photo)
        writer.declare_facets(self.layout.facets)

    def delete_the_rest(self, progress: Progress) -> None:
        """Deletes photos, products and facets that the table lacks, but nothing of products with rejected rows."""
        facets = {facet.name for facet in self.layout.facets}
        self.deleted = delete_the_rest(
            self.catalogue, self.products, self.photo_ids, facets, spare=self.gathered.doubtful, progress=progress
        )

    def report(self, rejected_path: Path | None) -> ImportReport:
        with self.catalogue.snapshot() as view:
            change_number = view.change_number
        products, photos = self.product_effects, self.photo_effects
        return ImportReport(
            rows=self.gathered.rows,
            rows_rejected=len(self.rejected),
            products_new=products[Effect.NEW],
            products_changed=products[Effect.CHANGED],
            products_unchanged=products[Effect.UNCHANGED],
            products_deleted=self.deleted.products,
            photos_new=photos[Effect.NEW],
            photos_changed=photos[Effect.CHANGED],
            photos_unchanged=photos[Effect.UNCHANGED],
            photos_repeated=self.accepted - photos.total(),
            photos_deleted=self.deleted.photos,
            clashes=tuple(self.gathered.clashes),
            facets=report_facets(self.layout, (self.gathered.products[product_id] for product_id in self.products)),
            photo_columns=self.layout.photo,
            left_out=self.layout.left_out,
            rejected_path=rejected_path,
            change_number=change_number,
        )
