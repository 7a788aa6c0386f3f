"""Build the documentation site with Sphinx: ``make docs`` writes it to build/site.

The source folder is the root of the repository, so that links such as ``../LOG.md`` work on the site as on a Git host.
The page of the commands is made from the commands themselves, by the directive ``command-help`` below.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, ClassVar

import typer
from docutils import nodes
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

project = "soundmark"
copyright = "the authors of soundmark, MIT licence"
version = release = PROJECT["version"]
language = "en"
smartquotes = False  # "--option" keeps its dashes

root_doc = "docs/index"
include_patterns = ["docs/**.md", "*.md", "benchmarks/*.md"]
exclude_patterns = ["build", "dist", ".*", "demo", "src", "tests", "shared", "examples"]
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]

myst_heading_anchors = 3  # links to headings, as on a Git host: using.md#windows-and-overlap
myst_enable_extensions = ["colon_fence"]
highlight_language = "none"

napoleon_use_ivar = True
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True, "undoc-members": False}
autoclass_content = "class"
napoleon_numpy_docstring = False
maximum_signature_line_length = 80
python_display_short_literal_types = True

html_theme = "furo"
html_title = f"soundmark {release}"
html_extra_path = ["site"]  # index.html, which leads from the root of the site to docs/index.html
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}


class CommandHelp(SphinxDirective):
    """Show the help of every command, from the same objects that print ``soundmark COMMAND --help``."""

    has_content: ClassVar[bool] = False

    def run(self) -> list[nodes.Node]:
        """Return a section per command, in the groups of ``soundmark --help``."""
        from soundmark.cli.commands import app

        main: Any = typer.main.get_command(app)
        context = main.make_context("soundmark", [], resilient_parsing=True)
        names = [name for group in main.groups.values() for name in group]
        assert sorted(names) == sorted(main.list_commands(context)), "a command is in no group"
        return [
            self.section(main.commands[name], typer.Context(main.commands[name], parent=context, info_name=name))
            for name in names
        ]

    def section(self, command: Any, context: Any) -> nodes.section:
        """Return the section of a command: usage, description, options in groups, names and examples."""
        title = context.command_path
        section = nodes.section(ids=[nodes.make_id(title)], names=[title])
        section += nodes.title(title, title)
        self.state.document.note_implicit_target(section, section)
        usage = command.get_usage(context).removeprefix("Usage: ")
        section += nodes.literal_block(usage, re.sub(r"\s+", " ", usage), language="text")
        for paragraph in (command.help or "").split("\n\n"):
            section += nodes.paragraph("", "", *marked(" ".join(paragraph.split())))
        groups: dict[str, nodes.definition_list] = {}
        for parameter in command.get_params(context):
            if record := parameter.get_help_record(context):
                if parameter.param_type_name == "argument":  # the usage shows that it is required
                    record = record[0], record[1].removesuffix("[required]")
                group = getattr(parameter, "rich_help_panel", None) or "General"
                groups.setdefault(group, nodes.definition_list()).append(definition(*record))
        from soundmark.cli.help_page import OPTION_GROUPS

        for group in sorted(groups, key=OPTION_GROUPS.index):
            section += [nodes.rubric(group, group), groups[group]]
        for part in filter(None, (command.epilog or "").split("\n\n")):
            heading, *lines = part.splitlines()
            section += nodes.rubric(heading, heading.removesuffix(":"))
            text = "\n".join(line.removeprefix("  ") for line in lines)
            section += nodes.literal_block(text, text, language="text")
        return section


def definition(name: str, text: str) -> nodes.definition_list_item:
    """Return an option and its description as an item of a list."""
    term = nodes.term("", "", nodes.literal(name, name))
    return nodes.definition_list_item("", term, nodes.definition("", nodes.paragraph("", "", *marked(text))))


def marked(text: str) -> list[nodes.Node]:
    """Return a help text as nodes, with the changes that ``cli.help_page`` makes as well."""
    plain = re.sub(r"\[default: \((.*)\)\]", r"[default: \1]", text.replace("\\[", "["))
    return [
        nodes.literal(part, part.strip("`")) if part.startswith("`") else nodes.Text(part)
        for part in re.split(r"(`+[^`]+`+)", plain)
        if part
    ]


def add_contents(_app: Any, docname: str, source: list[str]) -> None:
    """Make the table of contents from the headings and links of docs/index.md; show pages by title, not by file name.

    So the pages are plain Markdown, which a Git host shows as well.
    """
    source[0] = re.sub(r"\[[\w/.-]+\.md\]\(", "[](", source[0])
    if docname != root_doc:
        return
    for title, links in re.findall(r"^## (.+)\n\n((?:- .*\n)+)", source[0], re.MULTILINE):
        targets = re.findall(r"^- \[(.+)\]\((.+)\.md\)$", links, re.MULTILINE)
        lines = "\n".join(f"{text} <{target}>" for text, target in targets)
        source[0] += f"\n```{{toctree}}\n:hidden:\n:caption: {title}\n\n{lines}\n```\n"


def keep_numbers_together(_app: Any, document: nodes.document) -> None:
    """Break no line inside "2 097" or between a number and its unit."""
    for text in list(document.findall(nodes.Text)):
        if not isinstance(text.parent, nodes.literal | nodes.literal_block):
            joined = re.sub(
                r"(?<=\d) (?=\d{3}\b|%|(?:ms|s|h|kB|MB|GB|TB|Hz|kHz|dB|points)\b)", "\N{NO-BREAK SPACE}", text
            )
            text.parent.replace(text, nodes.Text(joined))


def setup(app: Any) -> None:
    """Register the directive, the table of contents and the typography."""
    app.add_directive("command-help", CommandHelp)
    app.connect("source-read", add_contents)
    app.connect("doctree-read", keep_numbers_together)
