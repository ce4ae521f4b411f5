"""Documentation to prose: what goes, what stays."""

from __future__ import annotations

import pytest

from bert_jax.corpora.prose import is_prose, prose_paragraphs

NUMPY_STYLE = """Return the sum of the elements over the given axis of the array.

    This is the second paragraph, and it is wrapped
    over two lines of text.

    Parameters
    ----------
    a : array_like
        Elements to sum, which may be of any kind.
    axis : None or int or tuple of ints, optional
        Axis or axes along which a sum is performed, as in :func:`numpy.mean`.

    Returns
    -------
    sum_along_axis : ndarray
        An array with the same shape as the input, with the axis removed.

    See Also
    --------
    ndarray.sum : Equivalent method.

    Examples
    --------
    The sum of a list is what everybody expects it to be.

    >>> np.sum([0.5, 1.5])
    2.0

    ==== =====
    a    b
    ==== =====
    one  two
    ==== =====

    .. versionadded:: 1.7.0
    .. [1] Knuth, "The Art of Computer Programming", which is a book of the trade.
    """

MARKDOWN = """# Title of the project

[![badge](https://example.org/a.svg)](https://example.org)

The [project](https://example.org) is a **small** tool that you can use for *all* of `it`.

```python
import project  # This is a comment and it is not to be kept.
```

| Column | Other |
| --- | --- |
| This is a cell of the table. | So is this one in the table. |

* The first item of the list is a sentence, too.
* short item

<p>This is a paragraph in the middle of the mark-up.</p>
"""

GOOGLE_STYLE = """Loads a model from the directory that it was saved in.

Args:
  directory: The directory from which the model is to be read.
  strict (bool): Whether it is an error if something is missing.

Returns:
  The model in the state in which it was saved.
"""


def test_numpy_style() -> None:
    assert prose_paragraphs(NUMPY_STYLE) == [
        "Return the sum of the elements over the given axis of the array.",
        "This is the second paragraph, and it is wrapped over two lines of text.",
        "Elements to sum, which may be of any kind.",
        "Axis or axes along which a sum is performed, as in numpy.mean.",
        "An array with the same shape as the input, with the axis removed.",
        "The sum of a list is what everybody expects it to be.",
    ]


def test_markdown() -> None:
    assert prose_paragraphs(MARKDOWN) == [
        "The project is a small tool that you can use for all of it.",
        "The first item of the list is a sentence, too.",
        "This is a paragraph in the middle of the mark-up.",
    ]


def test_google_style() -> None:
    assert prose_paragraphs(GOOGLE_STYLE) == [
        "Loads a model from the directory that it was saved in.",
        "The directory from which the model is to be read.",
        "Whether it is an error if something is missing.",
        "The model in the state in which it was saved.",
    ]


def test_literal_blocks_and_directives_go() -> None:
    text = """Use the function in the way that is shown here::

        This is a literal block and it is not to be kept.

    .. code-block:: python

        This is a code block and it is not to be kept.

    .. note::
        This is a note, and a note is to be kept.
    """
    assert prose_paragraphs(text) == ["This is a note, and a note is to be kept."]


def test_what_a_doctest_prints_goes_though_it_reads_as_prose() -> None:
    text = """This function says what it is that you have given to it.

    >>> print(describe(
    ...     this))
    This is what was printed, and it is not to be kept.
    So is this second line of the output of the code.

    This is what comes after the example, and it is to be kept.
    """
    assert prose_paragraphs(text) == [
        "This function says what it is that you have given to it.",
        "This is what comes after the example, and it is to be kept.",
    ]


@pytest.mark.parametrize(
    "sentence",
    [
        "not a sentence, as it does not begin with a capital.",
        "This one does not come to an end",
        "See https://example.org for more of the same on this.",
        "Too short.",
        "foo_bar(x) = a[i] + b[i], c->d and e::f are in this.",
        "+---+ | a | +---+ and so on to the end of it.",
        "Ceci est une phrase qui serait tout autre chose que prévue.",
        "12 34 56 78 90 and 11 12 13 14 15 16 17 18 19 20.",
    ],
)
def test_what_is_not_prose(sentence: str) -> None:
    assert not is_prose(sentence)


def test_what_is_prose() -> None:
    assert is_prose("This is a sentence that anyone could have written.")
    assert is_prose('If "x" is given, it is used in place of the default (see above).')


@pytest.mark.parametrize(
    "text",
    [
        *["漢字。" * 100, "Ab. " * 20_000, "::\n" * 3000, "```\n" * 3001, ">>> a\n" * 3000],
        "",
        "\0" * 100,
        "\ud800" * 100,
        "`" * 5000,
        "[" * 5000,
        "*a" * 5000,
        "| " * 5000,
        "<a" * 5000,
    ],
    ids=range(13),
)
def test_any_text_is_taken(text: str) -> None:
    assert all(p.isprintable() for p in prose_paragraphs(text))
