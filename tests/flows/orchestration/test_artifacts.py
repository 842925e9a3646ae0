from __future__ import annotations

from flows.orchestration.artifacts import answer_lines


def test_each_model_has_its_answer_or_why_there_is_none() -> None:
    won = "0.1 [0.09, 0.11] s median end-to-end, the least of all"
    chosen = {"cell": "rtn · e", "won": won, "caveats": ["it is close"], "alternative": "or another"}
    refused = {"cell": None, "caveats": ["x"], "alternative": "", "refusal": "no answer for m: x"}
    assert answer_lines({"answers": [chosen, refused]}).splitlines() == [
        f"**Recommended: rtn · e**: {won} · warning: it is close · or another",
        "",
        "**no answer for m: x**",
    ]


def test_words_of_others_are_no_markdown() -> None:
    """Whoever looks at a run would fetch an image, or be offered a link."""
    caveat = "its server said ![x](http://theirs/x.png)\n\n# <a href='//theirs'>"
    data = {"answers": [{"cell": "[a](//b)", "won": "`1`", "caveats": [caveat], "alternative": ""}]}
    assert answer_lines(data) == (
        r"**Recommended: [a]\(//b)**: \`1\` · warning: its server said ![x]\(http://theirs/x.png) # \<a href='//theirs'\>"
    )
