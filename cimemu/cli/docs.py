"""`cimemu docs`: the manual in the terminal, from the installed package."""

from typing import Annotated

import typer

from cimemu.cli.app import JsonOption, app
from cimemu.terminal import make_console, print_json, print_page


@app.command()
def docs(
    topic: Annotated[
        str | None, typer.Argument(metavar="[TOPIC]", help="a page's name; without one: the list of pages")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Pages of the manual: their list, or one of them (formatted on a terminal, else its Markdown)."""
    from cimemu.manual import GROUPS, page_text, pages

    if topic is not None:
        text = page_text(topic)
        if as_json:
            print_json({"topic": topic, "markdown": text})
        else:
            print_page(text)
        return
    there = pages()
    if as_json:
        print_json([{"topic": page.topic, "title": page.title, "group": page.group} for page in there])
        return
    console = make_console()
    for group, told in GROUPS.items():
        members = [page for page in there if page.group == group]
        if members:
            console.print(told, style="bold")
        for page in members:
            console.print(f"  {page.topic:14} {page.title}")
    console.print("One of them: cimemu docs TOPIC")
