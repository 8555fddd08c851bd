"""What mkdocs calls while it builds the site (mkdocs.yml). It puts this folder on the path while it loads this file."""

import posixpath
import re
from typing import Any

import chapters
import citations
import lecture_pages
import reference_pages
import result_pages
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page as SitePage
from repository import ROOT, Page, Places, source_page, source_uri

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
                *result_pages.pages(),
                *result_pages.measurements(),
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
    chapters_file = posixpath.relpath(chapters.FILE, posixpath.dirname(origin) or ".")

    def equation(k: int) -> str:
        return f"{chapters_file}#eq{k}" if k in _site.chapters.equations else ""

    everywhere = origin == chapters.FILE or origin.startswith("lectures/")
    markdown = citations.linked(markdown, equation, everywhere)
    markdown = _site.places.rewrite(markdown, origin, uri)
    _add_sources(_site.places.sources, files, config)
    return markdown


def _add_sources(paths: set[str], files: Files, config: MkDocsConfig) -> None:
    for path in sorted(paths):
        if files.get_file_from_path(source_uri(path)) is None:
            files.append(File.generated(config, source_uri(path), content=source_page(path)))


def on_page_content(html: str, page: SitePage, config: MkDocsConfig, files: Files) -> str:
    """Of the reference, which is made after the Markdown: pages of code, and citations as links."""
    uri = page.file.src_uri
    if not uri.startswith("reference/"):
        return html
    _add_sources(set(re.findall(r'href="\.\./source/([^"#]+)\.html', html)), files, config)

    def link(found: re.Match[str]) -> str:
        place = _site.chapters.equations.get(int(found[1]))
        target = place and posixpath.relpath(place.removesuffix(".md"), posixpath.dirname(uri))
        return f'<a href="{target}.html#eq{found[1]}">{found[0]}</a>' if target else found[0]

    return citations.CITED.sub(lambda found: re.sub(r"\((\d+)\)", link, found[0]), html)
