"""What mkdocs calls while it builds the site (mkdocs.yml)."""

import posixpath
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page as SitePage

sys.path.insert(0, str(Path(__file__).parent))  # the modules next to this file

import chapters
import citations
import experiments_pages
import lecture_pages
import reference_pages
from repository import ROOT, Page, Places, source_page

FRONT = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}


class Site:
    """All pages that are made, and where files of the repository are."""

    def __init__(self) -> None:
        self.chapters = chapters.Chapters()
        lectures, self.pictures = lecture_pages.pages()
        front = [Page(uri, (ROOT / file).read_text(encoding="utf-8"), file) for file, uri in FRONT.items()]
        self.made = {
            page.uri: page
            for page in (
                *front,
                *lectures,
                *self.chapters.pages,
                *experiments_pages.pages(),
                *experiments_pages.measurements(),
                *reference_pages.pages(),
                chapters.section("docs/design.md", "Glossary", "Glossary"),
            )
        }
        places = FRONT | {page.origin: page.uri for page in lectures}
        places |= {f"docs/{uri}": uri for uri in self.made} | {"docs/results": "results.md"}
        self.places = Places(places, {chapters.FILE: self.chapters.place})

    def origin(self, uri: str) -> str:
        return self.made[uri].origin if uri in self.made else f"docs/{uri}"


_site: Site


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    global _site
    _site = Site()
    config.nav = _expanded(config.nav)
    return config


def _expanded(entry: Any) -> Any:
    """The navigation, with the pages made under NAME in place of "NAME/*"."""
    if isinstance(entry, dict):
        return {key: _expanded(value) for key, value in entry.items()}
    if isinstance(entry, list):
        return [page for each in entry for page in (_under(each) if isinstance(each, str) else [_expanded(each)])]
    return entry


def _under(entry: str) -> list[Any]:
    if not entry.endswith("/*"):
        return [entry]
    folder = entry.removesuffix("*")
    uris = [uri for uri in _site.made if uri.startswith(folder) and uri != f"{folder}index.md"]
    return [{uri.split("/")[1]: uri} if uri.endswith("/index.md") else uri for uri in uris]  # results by their names


def on_files(files: Files, config: MkDocsConfig) -> Files:
    split = files.get_file_from_path(chapters.FILE.removeprefix("docs/"))
    if split is not None:
        files.remove(split)
    for page in _site.made.values():
        files.append(File.generated(config, page.uri, content=page.text))
    for uri, data in _site.pictures.items():
        files.append(File.generated(config, uri, content=data))
    return files


def on_page_markdown(markdown: str, page: SitePage, config: MkDocsConfig, files: Files) -> str:
    uri = page.file.src_uri
    origin = _site.origin(uri)

    def equation(k: int) -> str:
        anchor = _site.chapters.link(k)
        return anchor and posixpath.relpath(chapters.FILE, posixpath.dirname(origin) or ".") + anchor

    if origin != "docs/derivations.md":
        markdown = citations.linked(markdown, equation, everywhere=False)
    else:
        markdown = citations.linked(markdown, equation, everywhere=True)
    markdown = _site.places.rewrite(markdown, origin, uri)
    for path in sorted(_site.places.sources):
        if files.get_file_from_path(f"source/{path}.html") is None:
            files.append(File.generated(config, f"source/{path}.html", content=source_page(path)))
    return markdown


def on_page_content(html: str, page: SitePage, config: MkDocsConfig, files: Files) -> str:
    """Citations in docstrings as links."""
    uri = page.file.src_uri
    if not uri.startswith("reference/"):
        return html

    def link(found: re.Match[str]) -> str:
        k = int(found[1])
        place = _site.chapters.equations.get(k)
        if place is None:
            return found[0]
        target = posixpath.relpath(place.removesuffix(".md") + ".html", posixpath.dirname(uri))
        return f'<a href="{target}#eq{k}">({k})</a>'

    return citations.CITED.sub(lambda found: re.sub(r"\((\d+)\)", link, found[0]), html)
