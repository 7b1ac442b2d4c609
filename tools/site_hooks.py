"""Hooks of MkDocs: parts made from the code, links that leave the site, pictures, and a check of what was built."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from posixpath import normpath
from urllib.parse import unquote

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from tools.reference import PARTS

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs"
SOURCE = "https://github.com/rowcache-tasks/rowcache-tasks/blob/main/"

MADE = re.compile(r"^<!-- made from the code: (\w+) -->$", re.MULTILINE)
OUTSIDE = re.compile(r"\]\((\.\./[^)\s#]+)(#[^)\s]*)?\)")
FILE_NAME = re.compile(r"\[([\w-]+\.md)\]\(((?:[\w-]+/)*[\w-]+\.md)(#[^)\s]*)?\)")
NAMED = re.compile(r"(?<![\w/`])docs/((?:[\w-]+/)*[\w-]+\.md)(#[\w-]+)?")
PICTURE = re.compile(r'<img alt="([^"]*)" src="[^"]*?([\w-]+\.svg)" ?/?>')
STYLE = re.compile(r"<style>.*?</style>", re.DOTALL)
LINK = re.compile(r'<a\b[^>]*\bhref="([^"]+)"')
ANCHOR = re.compile(r'\bid="([^"]+)"')
LOADED = re.compile(
    r'<(?:script|img|iframe)\b[^>]*\bsrc="(?:https?:)?//|'
    r'<link\b[^>]*rel="(?:stylesheet|preload|icon)"[^>]*href="(?:https?:)?//'
)


@cache
def title_of(path: Path) -> str:
    """Return the title of a page."""
    return path.read_text("utf-8").partition("\n")[0].removeprefix("# ")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the changelog, which is at the root of the repository."""
    text = (ROOT / "CHANGELOG.md").read_text("utf-8").replace("](docs/", "](")
    text = NAMED.sub(lambda match: f"[{title_of(PAGES / match[1])}]({match[1]}{match[2] or ''})", text)
    files.append(File.generated(config, "changelog.md", content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put in the parts made from the code, and titles for the names of pages; let other links lead to the source."""

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

    def name(match: re.Match[str]) -> str:
        path = (PAGES / page.file.src_uri).parent / match[2]
        return f"[{title_of(path)}]({match[2]}{match[3] or ''})" if path.exists() else match[0]

    markdown = FILE_NAME.sub(name, markdown)
    markdown = MADE.sub(lambda match: PARTS[match[1]](), markdown)
    return OUTSIDE.sub(resolve, markdown)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Link the pages that docstrings name. Put pictures into the page, so that they have the colors of its theme."""

    def inline(match: re.Match[str]) -> str:
        path = ROOT / "docs" / "images" / match[2]
        if not path.exists():
            return match[0]
        svg = STYLE.sub("", path.read_text("utf-8"))
        return svg.replace("<svg ", f'<svg role="img" aria-label="{match[1]}" class="picture" ', 1)

    if page.file.src_uri.startswith("reference/"):
        html = NAMED.sub(
            lambda match: f'<a href="../{match[1][:-3]}.html{match[2] or ""}">{title_of(PAGES / match[1])}</a>', html
        )
    return PICTURE.sub(inline, html)


def on_post_build(config: MkDocsConfig) -> None:
    """List the links that leave the site; refuse those that lead nowhere, and files that are loaded from elsewhere."""
    folder = Path(config.site_dir).resolve()
    texts = {path: path.read_text("utf-8") for path in sorted(folder.rglob("*.html")) if path.name != "404.html"}
    anchors = {path: set(ANCHOR.findall(text)) for path, text in texts.items()}
    outside: dict[str, set[str]] = {}
    for path, text in texts.items():
        name = str(path.relative_to(folder))
        if found := LOADED.search(text):
            raise PluginError(f"{name}: loads a file from elsewhere: {found[0]}")
        for link in LINK.findall(text):
            if link.startswith(("http:", "https:")):
                outside.setdefault(link, set()).add(name)
            elif leads_nowhere(path, link, anchors):
                raise PluginError(f"{name}: link to {link} leads nowhere")
    lines = [f"{link}  {', '.join(sorted(names))}\n" for link, names in sorted(outside.items())]
    (folder / "external-links.txt").write_text("".join(lines), "utf-8")


def leads_nowhere(page: Path, link: str, anchors: Mapping[Path, set[str]]) -> bool:
    """Whether the file or the anchor of a link is not there."""
    target, _, anchor = unquote(link).partition("#")
    path = (page.parent / target).resolve() if target else page
    path = path / "index.html" if path.is_dir() else path
    return not path.exists() or bool(anchor and path in anchors and anchor not in anchors[path])
