"""A delta and some changes -> the next delta.

Changes say which products are other than before; what they are now is read from the catalogue, so it does not matter
how often a product changed or in how many steps its changes arrive.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from engine.catalogue.schema import Facet, Photo, Product
from engine.search.delta import Delta, Layer, LivePhotos
from engine.search.snapshot import Snapshot
from engine.storage.products import Products

Ints = NDArray[np.int64]
Vector = NDArray[np.float16]

GROWTH = 4  # a layer is laid together with the one below it unless that one is this many times as large


@dataclass(frozen=True, slots=True, eq=False)
class Touched:
    """A product as the catalogue has it now, and what a snapshot has of it.

    `ordinal` None: the snapshot never saw it. `rows` are its photos in the generation that are not deleted, `built`
    their ids, one by one; `photos` are all that the catalogue has of it.
    """

    product_id: str
    product: Product | None
    photos: tuple[Photo, ...]
    ordinal: int | None
    rows: Ints
    built: tuple[int, ...]

    @property
    def wanted(self) -> tuple[Photo, ...]:
        """The photos that the generation has not."""
        built = set(self.built)
        return tuple(photo for photo in self.photos if photo.photo_id not in built)


def look_up(
    snapshot: Snapshot, ids: Collection[str], products: Sequence[Product], photos: Sequence[Photo]
) -> list[Touched]:
    """The products of these `ids` as the catalogue has them, each beside what the snapshot has of it."""
    now = {product.product_id: product for product in products}
    theirs: dict[str, list[Photo]] = {}
    for photo in photos:
        theirs.setdefault(photo.product_id, []).append(photo)
    found = []
    for product_id in sorted(ids):
        ordinal = snapshot.find(product_id)
        rows = np.empty(0, np.int64)
        if ordinal is not None and ordinal < snapshot.base.products.count:
            rows = snapshot.gallery.rows_of_product(ordinal)
        built = tuple(map(snapshot.gallery.photo_id, rows.tolist()))
        found.append(Touched(product_id, now.get(product_id), tuple(theirs.get(product_id, ())), ordinal, rows, built))
    return found


def contents_wanted(snapshot: Snapshot, touched: Sequence[Touched]) -> dict[str, Photo]:
    """One photo of every content (sha256 in hex) whose vector the snapshot lacks to show the products."""
    live = set(snapshot.delta.live.photo_ids.tolist())
    return {photo.content_hash: photo for one in touched for photo in one.wanted if photo.photo_id not in live}


def applied(
    snapshot: Snapshot,
    touched: Sequence[Touched],
    vectors: Mapping[str, Vector],
    unreadable: Mapping[str, str],
    change_number: int,
) -> Delta:
    """The snapshot's delta with the touched products as they are now.

    `vectors` are those of `contents_wanted`, save those that could not be read: why is in `unreadable`, by content.
    `snapshot` must have the schema of today's catalogue.
    """
    delta, count = snapshot.delta, snapshot.base.products.count
    ordinals = _numbered(touched, delta.ordinals, vectors)
    live = _live(delta.live, touched, ordinals, vectors)
    alive = _alive(snapshot, touched)
    with_live = set(live.ordinals.tolist())
    emptied, hidden = set(delta.emptied.tolist()), set(delta.hidden.tolist())
    for one in touched:
        ordinal = ordinals.get(one.product_id)
        if ordinal is None:
            continue
        left = {photo.photo_id for photo in one.photos}.intersection(one.built)
        _move(emptied, ordinal, into=ordinal < count and not left)
        _move(hidden, ordinal, into=not left and ordinal not in with_live)
    shown = [one for one in touched if one.product_id in ordinals and ordinals[one.product_id] not in hidden]
    return replace(
        delta,
        change_number=change_number,
        ordinals=max([delta.ordinals, *(ordinal + 1 for ordinal in ordinals.values())]),
        live=live,
        layers=_layers(snapshot, shown, ordinals),
        alive=alive,
        emptied=_rising(emptied),
        hidden=_rising(hidden),
        uris=_uris(snapshot, touched),
        unreadable=reasons_left(delta.unreadable, touched, unreadable),
    )


def reasons_left(
    before: Mapping[str, tuple[str, ...]], touched: Sequence[Touched], reasons: Mapping[str, str]
) -> Mapping[str, tuple[str, ...]]:
    """`Delta.unreadable` after the touched products were looked at; `reasons` by content, as for `applied`."""
    mine = {one.product_id for one in touched}
    kept = {product_id: why for product_id, why in before.items() if product_id not in mine}
    for one in touched:
        why = tuple(reasons[photo.content_hash] for photo in one.wanted if photo.content_hash in reasons)
        if why:
            kept[one.product_id] = why
    return kept


def under(snapshot: Snapshot, facets: tuple[Facet, ...]) -> Snapshot:
    """The same products and photos with the schema of today's catalogue."""
    if facets == snapshot.facets:
        return snapshot
    base = snapshot.base.under(facets)
    layers = []
    for layer in snapshot.delta.layers:
        products = layer.products.under(facets)
        layers.append(Layer(products, layer.owners, base.attributes_of(products)))
    return Snapshot(base, replace(snapshot.delta, facets=facets, layers=tuple(layers)))


def _numbered(touched: Sequence[Touched], first: int, vectors: Mapping[str, Vector]) -> dict[str, int]:
    """The ordinals of the products; new ones get one when they first have a photo that can be shown."""
    ordinals: dict[str, int] = {}
    for one in touched:
        if one.ordinal is not None:
            ordinals[one.product_id] = one.ordinal
        elif any(photo.content_hash in vectors for photo in one.photos):
            ordinals[one.product_id] = first
            first += 1
    return ordinals


def _live(
    before: LivePhotos, touched: Sequence[Touched], ordinals: Mapping[str, int], vectors: Mapping[str, Vector]
) -> LivePhotos:
    """The photos of untouched products, then those of the touched ones, as they are now."""
    mine = np.isin(before.ordinals, list(ordinals.values()))
    known = {int(before.photo_ids[place]): before.vectors[place] for place in np.flatnonzero(mine)}
    added = list(_shown(touched, ordinals, known, vectors))
    if not added and not known:
        return before
    uris, hashes = np.empty(len(added), object), np.empty(len(added), object)
    uris[:] = [photo.uri for photo, _, _ in added]
    hashes[:] = [bytes.fromhex(photo.content_hash) for photo, _, _ in added]
    new = LivePhotos(
        np.array([photo.photo_id for photo, _, _ in added], np.int64),
        np.array([ordinal for _, ordinal, _ in added], np.int64),
        np.array([vector for _, _, vector in added], np.float16).reshape(len(added), before.vectors.shape[1]),
        uris,
        hashes,
    )
    return before.take(np.flatnonzero(~mine)).and_then(new)


def _shown(
    touched: Sequence[Touched],
    ordinals: Mapping[str, int],
    known: Mapping[int, Vector],
    vectors: Mapping[str, Vector],
) -> Iterator[tuple[Photo, int, Vector]]:
    """Every photo that is to be live, its product's ordinal and its vector."""
    for one in touched:
        for photo in one.wanted:
            vector = known.get(photo.photo_id)
            if vector is None:
                vector = vectors.get(photo.content_hash)
            if vector is not None:
                yield photo, ordinals[one.product_id], vector


def _alive(snapshot: Snapshot, touched: Sequence[Touched]) -> NDArray[np.bool_] | None:
    """The bitmap of the generation's photos, less those that the catalogue has no more."""
    dead: list[int] = []
    for one in touched:
        there = {photo.photo_id for photo in one.photos}
        dead.extend(row for row, photo_id in zip(one.rows.tolist(), one.built, strict=True) if photo_id not in there)
    before = snapshot.delta.alive
    if not dead:
        return before
    alive = np.ones(snapshot.gallery.rows, np.bool_) if before is None else before.copy()
    alive[dead] = False
    return alive


def _layers(snapshot: Snapshot, shown: Sequence[Touched], ordinals: Mapping[str, int]) -> tuple[Layer, ...]:
    """The layers with one more on top, of the products that are other than they are seen now; small layers are laid
    together, so that there are never many."""
    changed: dict[str, tuple[Product, int]] = {}
    for one in shown:
        assert one.product is not None, "a product with photos is there"
        product = _plain(one.product)
        if one.ordinal is None or not _is_seen_as(snapshot, one.ordinal, product):
            changed[one.product_id] = product, ordinals[one.product_id]
    layers = list(snapshot.delta.layers)
    if not changed:
        return snapshot.delta.layers
    while layers and len(layers[-1]) <= GROWTH * len(changed):
        changed = _products_of(layers.pop()) | changed
    rising = [changed[product_id] for product_id in sorted(changed)]
    products = Products.of([product for product, _ in rising], snapshot.facets)
    owners = np.array([ordinal for _, ordinal in rising], np.int64)
    return (*layers, Layer(products, owners, snapshot.base.attributes_of(products)))


def _products_of(layer: Layer) -> dict[str, tuple[Product, int]]:
    products = layer.products
    return {
        (product_id := products.product_id(place)): (
            Product(product_id, products.title(place), products.facets_of(place)),
            int(layer.owners[place]),
        )
        for place in range(len(layer))
    }


def _plain(product: Product) -> Product:
    """The product as an index holds it: no keywords at all is no value."""
    return replace(product, facets={name: value for name, value in product.facets.items() if value != ()})


def _is_seen_as(snapshot: Snapshot, ordinal: int, product: Product) -> bool:
    seen = snapshot.seen(ordinal)
    return seen.title == product.title and seen.facets == product.facets


def _uris(snapshot: Snapshot, touched: Sequence[Touched]) -> Mapping[int, str]:
    moved: dict[int, str] = {}
    for one in touched:
        rows = dict(zip(one.built, one.rows.tolist(), strict=True))
        for photo in one.photos:
            if photo.photo_id in rows:
                known = snapshot.delta.uris.get(photo.photo_id) or snapshot.gallery.uri(rows[photo.photo_id])
                if known != photo.uri:
                    moved[photo.photo_id] = photo.uri
    return snapshot.delta.uris if not moved else {**snapshot.delta.uris, **moved}


def _move(ordinals: set[int], ordinal: int, *, into: bool) -> None:
    if into:
        ordinals.add(ordinal)
    else:
        ordinals.discard(ordinal)


def _rising(ordinals: set[int]) -> Ints:
    return np.array(sorted(ordinals), np.int64)
