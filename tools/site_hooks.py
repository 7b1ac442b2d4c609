"""Hooks of MkDocs: parts made from the code, links that leave the site, pictures, and a check of what was built."""

import re
from collections.abc import Iterator
from pathlib import Path
from posixpath import normpath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from tools.reference import PARTS

ROOT = Path(__file__).parents[1]
SOURCE = "https://github.com/rowcache-tasks/rowcache-tasks/blob/main/"

MADE = re.compile(r"^<!-- made from the code: (\w+) -->$", re.MULTILINE)
OUTSIDE = re.compile(r"\]\((\.\./[^)\s#]+)(#[^)\s]*)?\)")
PICTURE = re.compile(r'<img alt="([^"]*)" src="[^"]*?([\w-]+\.svg)" ?/?>')
STYLE = re.compile(r"<style>.*?</style>", re.DOTALL)
LINK = re.compile(r'<a\b[^>]*\bhref="(https?://[^"]+)"')
LOADED = re.compile(
    r'<(?:script|img|iframe)\b[^>]*\bsrc="(?:https?:)?//|'
    r'<link\b[^>]*rel="(?:stylesheet|preload|icon)"[^>]*href="(?:https?:)?//'
)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the changelog, which is at the root of the repository."""
    text = (ROOT / "CHANGELOG.md").read_text("utf-8").replace("](docs/", "](")
    files.append(File.generated(config, "changelog.md", content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put in the parts made from the code; let links to files of the repository lead to the repository."""

    def resolve(match: re.Match[str]) -> str:
        target, anchor = match[1], match[2] or ""
        path = normpath(f"docs/{page.file.src_uri}/../{target}")
        if path.startswith("docs/"):
            return match[0]
        if not (ROOT / path).exists():
            raise PluginError(f"{page.file.src_uri}: link to {target}: {path} is not in the repository")
        if path == "CHANGELOG.md":
            return f"]({'../' * page.file.src_uri.count('/')}changelog.md{anchor})"
        return f"]({SOURCE}{path}{anchor})"

    markdown = MADE.sub(lambda match: PARTS[match[1]](), markdown)
    return OUTSIDE.sub(resolve, markdown)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put the SVG files of docs/images/ into the page itself, so that they have the colors of its theme."""

    def inline(match: re.Match[str]) -> str:
        path = ROOT / "docs" / "images" / match[2]
        if not path.exists():
            return match[0]
        svg = STYLE.sub("", path.read_text("utf-8"))
        return svg.replace("<svg ", f'<svg role="img" aria-label="{match[1]}" class="picture" ', 1)

    return PICTURE.sub(inline, html)


def external_links(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield each link that leaves the site, with its page."""
    for path in sorted(folder.rglob("*.html")):
        for link in LINK.findall(path.read_text("utf-8")):
            yield link, str(path.relative_to(folder))


def on_post_build(config: MkDocsConfig) -> None:
    """List the links that leave the site; refuse a page that loads a script, a font or a picture from elsewhere."""
    folder = Path(config.site_dir)
    pages: dict[str, set[str]] = {}
    for link, page in external_links(folder):
        pages.setdefault(link, set()).add(page)
    lines = [f"{link}  {', '.join(sorted(found))}\n" for link, found in sorted(pages.items())]
    (folder / "external-links.txt").write_text("".join(lines), "utf-8")
    for path in folder.rglob("*.html"):
        if found := LOADED.search(path.read_text("utf-8")):
            raise PluginError(f"{path}: loads a file from elsewhere: {found[0]}")
