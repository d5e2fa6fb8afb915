import pytest

from wingbeat.errors import ConfigurationError
from wingbeat.sources.template import Template, TemplateFault, read_template


def test_columns_are_filled_in():
    """Columns stand in the prompt as they are, nothing is escaped."""
    assert Template("Rate <{{ text }}>: {{ n }}").render({"text": "a & <b>", "n": 3}) == "Rate <a & <b>>: 3"


def test_a_missing_column_is_named():
    """A column that the row lacks is named."""
    with pytest.raises(TemplateFault, match="has no column `text`, which the template uses"):
        Template("{{ text }}").render({"txt": "a"})


@pytest.mark.parametrize(
    "text",
    ["{{ note | default('-') }}", "{% if note is defined %}{{ note }}{% else %}-{% endif %}"],
)
def test_a_column_may_be_optional(text):
    """A template that provides for a missing column is rendered without it."""
    assert Template(text).render({}) == "-"


def test_jinja_functions_are_no_columns():
    """Jinja's own functions are not taken for columns."""
    template = Template("{% for n in range(count) %}{{ n }}{% endfor %}")
    assert template.variables == {"count"}
    assert template.render({"count": 3}) == "012"


@pytest.mark.parametrize(
    "text",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ ''['__class__']['__mro__'] }}",
        "{{ (''|attr('__class__')).__mro__ }}",
        "{{ '{0.__class__.__mro__}'.format('') }}",
        "{{ rows.append(1) }}",
        "{{ range(10 ** 9) | list }}",
        "{{ cycler.__init__.__globals__.os.system('true') }}",
        "{% include '/etc/passwd' %}",
        "{{ 1 / 0 }}",
        "{{ text.nothing.more }}",
    ],
)
def test_escapes_are_refused(text):
    """A template can reach neither Python's insides nor files, and can't change the row."""
    rows = []
    with pytest.raises(TemplateFault) as caught:
        Template(text).render({"rows": rows, "text": "a"})
    assert "\n" not in str(caught.value)
    assert rows == []


def test_a_row_is_no_template():
    """Braces in a row's values stay braces."""
    assert Template("{{ text }}").render({"text": "{{ 7 * 7 }}"}) == "{{ 7 * 7 }}"


def test_syntax_errors_name_the_line(tmp_path):
    """A wrong template is refused with its file and line."""
    path = tmp_path / "prompt.j2"
    path.write_text("fine\n{% if x %}\n{{ y }\n")
    with pytest.raises(ConfigurationError, match=r"prompt.j2` is wrong at line 3"):
        read_template(str(path))
    with pytest.raises(ConfigurationError, match="the template is wrong at line 1"):
        read_template("{{ a b }}")


def test_a_template_file(tmp_path):
    """A template is read from a file, without its byte order mark and its last line end."""
    path = tmp_path / "prompt.j2"
    path.write_bytes(b"\xef\xbb\xbfSay {{ text }}\r\nnow\n")
    assert read_template(str(path)).render({"text": "é"}) == "Say é\nnow"


@pytest.mark.parametrize("argument", ["nowhere.j2", "no braces", "", "x" * 5000, "a\x00b"])
def test_neither_file_nor_template(tmp_path, monkeypatch, argument):
    """What is neither a file nor a template is refused."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match="template"):
        read_template(argument)
