"""The page's colours and type for Gradio's own parts; `styles/` has the same for ours."""

from gradio.themes import Base, Color
from gradio.themes.utils.sizes import radius_lg

FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "DejaVu Sans", "sans-serif")
GREEN = Color(
    c50="#eef6f4",
    c100="#dcedea",
    c200="#b9dbd4",
    c300="#8dc3b8",
    c400="#4f9d8e",
    c500="#1f7d6b",
    c600="#0b6e57",
    c700="#095a48",
    c800="#07483a",
    c900="#05372c",
    c950="#03231c",
)


def theme() -> Base:
    """Fonts of the visitor's own system, so that nothing is fetched from elsewhere."""
    calm: Base = Base(primary_hue=GREEN, secondary_hue=GREEN, neutral_hue="stone", radius_size=radius_lg, font=FONTS)
    return calm.set(body_background_fill="#f6f5f1", body_background_fill_dark="#f6f5f1")
