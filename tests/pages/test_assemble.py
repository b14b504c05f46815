import base64
import hashlib
import json
import os
import re
import tempfile
import urllib.parse
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgel3_np import EdgeL3Error
from edgel3_np.collections.html import check_page
from edgel3_np.pages.assemble import read_asset, relative_url, write_page


def data_of(page):
    """Return what the scripts of a page hold, by class."""
    found = {}
    for kind, text in re.findall(r'<script type="application/json" class="(\w+)">(.*?)</script>', page):
        found.setdefault(kind, []).append(json.loads(text))
    return found


@given(st.text(max_size=40), st.text(max_size=40))
def test_no_text_leaves_its_place(title, name):
    with tempfile.TemporaryDirectory() as folder:
        check_text(Path(folder) / "p.html", title, name)


def check_text(path, title, name):
    title, name = (f"</title></script><!--<img src=x onerror=a>{text}" for text in (title, name))
    title, name = (text.encode("utf-8", "replace").decode() for text in (title, name))
    size = write_page(str(path), ["page.js"], {"title": title}, iter([{"path": name}]), False)
    page = path.read_bytes().decode()
    assert size == os.path.getsize(path)
    assert data_of(page)["item"] == [{"path": name}] and data_of(page)["about"][0]["title"] == title
    assert "onerror=a>" not in page.split('class="about"')[0] and "<img" not in page
    assert page.count("<script") == page.count("</script>") == 3


def test_the_policy_names_the_script_and_the_style_and_nothing_from_the_network(tmp_path):
    for linked in (False, True):
        write_page(str(tmp_path / "p.html"), ["page.js", "hits.js"], {"title": ""}, [], linked)
        page = (tmp_path / "p.html").read_text(encoding="utf-8")
        policy = re.search(r'Content-Security-Policy" content="(.*?)"', page, re.DOTALL)[1]
        for tag, text in (("script", page.rpartition("<script>")[2]), ("style", page.rpartition("<style>")[2])):
            digest = hashlib.sha256(text.partition(f"</{tag}>")[0].encode()).digest()
            assert f"{tag}-src 'sha256-{base64.b64encode(digest).decode()}'" in policy
        assert policy.startswith("default-src 'none'; ") and "http" not in policy
        assert ("file:" in policy) == linked
        assert "http" not in page.replace("http://www.w3.org/2000/svg", "").replace("http-equiv", "")


def test_scripts_have_no_way_to_make_text_into_markup():
    for name in ("page.js", "player.js", "hits.js", "map.js"):
        script = read_asset(name)
        for word in ("innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "Function(", "</script"):
            assert word not in script


@given(st.binary(min_size=1, max_size=30).filter(lambda name: not set(name) & {0, 47} and name not in (b".", b"..")))
def test_a_link_leads_to_its_recording(name):
    path = os.path.join("/a", os.fsdecode(name))
    url = relative_url(path, "/b/page.html")
    joined = urllib.parse.urljoin("file:///b/page.html", url)
    parsed = urllib.parse.urlparse(joined)
    assert parsed.scheme == "file" and not parsed.fragment and not parsed.query
    assert urllib.parse.unquote_to_bytes(parsed.path) == b"/a/" + name


def test_half_of_a_surrogate_pair_is_no_path():
    with pytest.raises(EdgeL3Error, match="expected the path of a recording, found no path"):
        relative_url("/a\ud800b.wav", "/b/page.html")


def test_a_page_that_cannot_be_written(tmp_path):
    for name, message in (("p.txt", "expected a name that ends in .html"), ("no/p.html", "in an existing directory")):
        with pytest.raises(EdgeL3Error, match=message):
            check_page(tmp_path / name)
    check_page(tmp_path / "P.HTM")
    (tmp_path / "other.html").write_text("<!doctype html>\n<html lang='en'>")
    with pytest.raises(EdgeL3Error, match="expected nothing, or a page that edgel3_np wrote, found another file"):
        check_page(tmp_path / "other.html")
    os.unlink(tmp_path / "other.html")
    write_page(str(tmp_path / "own.html"), ["page.js"], {"title": ""}, [], False)
    check_page(tmp_path / "own.html")
    os.unlink(tmp_path / "own.html")
    (tmp_path / "d.html").mkdir()
    with pytest.raises(EdgeL3Error, match="expected the name of a file, found a directory"):
        check_page(tmp_path / "d.html")
    with pytest.raises(EdgeL3Error, match="cannot be written") as caught:
        write_page(str(tmp_path / "d.html"), ["page.js"], {"title": ""}, [], False)
    assert caught.value.kind == "output"

    def items():
        yield {}
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_page(str(tmp_path / "p.html"), ["page.js"], {"title": ""}, items(), False)
    assert os.listdir(tmp_path) == ["d.html"]
