"""How a page of HTML begins, by which a later run knows that it may replace the file."""

import os

from .._files import open_regular
from ..errors import EdgeL3Error
from .atomic import check_directory

START = '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="generator" content="edgel3_np">'


def check_page(path):
    """Raise `EdgeL3Error` unless a page of this name can be written: it ends in .html, and replaces a page at most."""
    path = os.fsdecode(path)
    if not path.lower().endswith((".html", ".htm")):
        raise EdgeL3Error(f"{path}: expected a name that ends in .html; choose another name")
    check_directory(path)
    if os.path.lexists(path):
        with open_regular(path, "a page that edgel3_np wrote", kind="output") as file:
            if file.read(len(START)) != START.encode():
                what = "expected nothing, or a page that edgel3_np wrote, found another file"
                raise EdgeL3Error(f"{path}: {what}; choose another name", kind="output")
