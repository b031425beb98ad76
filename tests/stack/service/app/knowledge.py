"""The knowledge base. `python -m app.knowledge FOLDER` makes it say what the Markdown files there say."""

import sys
from pathlib import Path

from sqlalchemy import delete
from sqlalchemy.dialects.postgresql import insert

from .tables import articles, engine


def read(file: Path) -> dict[str, str]:
    """An article: its first line is the title."""
    first, _, body = file.read_text(encoding="utf-8").partition("\n")
    title = first.lstrip("#").strip()
    if not first.startswith("# ") or not body.strip():
        raise ValueError(f"{file}: the first line has to be `# ` and a title, and a text has to follow")
    return {"name": file.stem, "title": title, "body": body.strip()}


def fill(folder: Path) -> int:
    """All of it or nothing; how many articles there are."""
    found = [read(file) for file in sorted(folder.glob("*.md"))]
    if not found:
        raise ValueError(f"{folder}: there is no file *.md in it")
    with engine.begin() as connection:
        connection.execute(delete(articles).where(articles.c.name.not_in([article["name"] for article in found])))
        new = insert(articles)
        same = {"title": new.excluded.title, "body": new.excluded.body}
        connection.execute(new.on_conflict_do_update(index_elements=["name"], set_=same), found)
    return len(found)


if __name__ == "__main__":
    try:
        print(f"{fill(Path(sys.argv[1]))} articles")
    except ValueError as error:  # of UTF-8, too
        sys.exit(f"error: {error}")
