"""Decks of slides are cut from built pages: what is seen, what the speaker reads, where addresses lead."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from bs4 import BeautifulSoup

from course.slides import cut, cut_all, deck, first_sentence

AT, TO = PurePosixPath("chapters/01-a/index.html"), PurePosixPath("slides/01-a.html")
PAGE = """<html><head><meta name="description" content="What it &amp; is."><script src="../../javascripts/figures.js"></script></head><body>
<article><h1 id="a">1. A <em>chapter</em><a class="headerlink" href="#a">¶</a></h1>
<p class="chapter-tools">a notebook</p><p>Hello. More.</p><ul><li>to say</li></ul>
<h2 id="b">Noise<a class="headerlink" href="#b">¶</a></h2>
<p>First thing, e.g. this. Then more words.</p><p><strong>Bold claim.</strong> Its reason.</p>
<div class="arithmatex">E = mc</div><details class="formula-card"><summary class="known"><span>proved</span></summary><p>long</p></details>
<p>What follows. And on.</p>
<h3>Deeper</h3><p>One.</p><p>Two.</p><p>Three.</p><p>Four.</p>
<figure class="computed"><img src="../../assets/x.webp"><figcaption>See <a href="../02-b/#c">it</a> and <a href="https://x.org/">that</a>.</figcaption></figure>
<div class="highlight"><pre>print(1)</pre></div><div class="highlight"><pre>1</pre></div>
<h2>Exercises</h2><details><summary>A task</summary></details><p>Do it.</p><h2>References</h2><ul><li>Somebody</li></ul>
</article></body></html>"""


def slides(page=PAGE):
    return list(cut(BeautifulSoup(page, "html.parser").article))


def test_a_slide_is_a_heading_first_sentences_and_one_thing():
    seen = [(s.title, s.above, s.leads, s.after, s.chapter) for s in slides()]
    begun = '1. A <em>chapter</em>'
    assert seen == [
        (begun, "", ["Hello."], [], False),
        ("Noise", "", ["First thing, e.g. this.", "<strong>Bold claim.</strong>"], ["What follows."], True),
        ("Deeper", "Noise", ["One."], [], False),
        ("Deeper", "Noise", ["Two.", "Three.", "Four."], [], False),
        ("Deeper", "Noise", [], [], False),
    ]
    assert '<p class="known"><span>proved</span></p>' in slides()[1].shown
    assert "long" not in slides()[1].shown
    assert "print(1)" in slides()[4].shown          # a program and what it printed stand together
    assert "<pre>1</pre>" in slides()[4].shown


def test_the_speaker_reads_whole_paragraphs():
    assert slides()[1].notes == ["First thing, e.g. this. Then more words.", "<strong>Bold claim.</strong> Its reason.", "What follows. And on."]
    assert not any("A task" in s.shown or "Somebody" in s.shown or "Do it" in str(s.notes) for s in slides())


@pytest.mark.parametrize(("html", "first"), [
    ("One. Two.", "One."),
    ("Is it? Yes.", "Is it?"),
    ("At 3.5 steps. Then.", "At 3.5 steps."),
    ('He said "no." Then he left.', 'He said "no."'),
    ("Let <span>x. y</span> be small. Then.", "Let <span>x. y</span> be small."),
    ("No end", "No end"),
    ("Look at this:", "Look at this"),
    ("a &lt; b, i.e. less. Then", "a &lt; b, i.e. less."),
    ("<strong>Whole.</strong> Rest. More.", "<strong>Whole.</strong>"),
    ("", ""),
])
def test_first_sentences(html, first):
    assert first_sentence(BeautifulSoup(f"<p>{html}</p>", "html.parser").p) == first


def test_a_deck_leads_where_its_page_leads():
    text = deck(PAGE, AT, TO)
    assert 'src="../assets/x.webp"' in text
    assert 'href="../chapters/02-b/#c"' in text
    assert 'href="https://x.org/"' in text
    assert '<script src="../javascripts/figures.js">' in text
    assert "What it &amp; is." in text
    assert "<title>1. A chapter: slides</title>" in text
    assert "headerlink" not in text
    assert "a notebook" not in text


def test_every_chapter_gets_its_deck_with_and_without_folders(tmp_path):
    for name in ("01-a/index.html", "index.html", "02-b.html"):
        (tmp_path / "chapters" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "chapters" / name).write_text(PAGE)
    assert cut_all(tmp_path) == 2
    assert sorted(path.name for path in (tmp_path / "slides").iterdir()) == ["01-a.html", "02-b.html"]


@pytest.mark.parametrize("page", ["", "<p>x</p>", "<article><p>no title</p></article>"])
def test_a_page_that_is_no_chapter(page):
    with pytest.raises(ValueError, match="not a chapter's page"):
        deck(page, AT, TO)
