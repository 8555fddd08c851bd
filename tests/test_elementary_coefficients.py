"""The numbers in rtu_np/numerics/elementary.py are those that tests/elementary_coefficients.py derives."""

import importlib
import math

import elementary_coefficients
import pytest

from rtu_np.numerics import elementary

PRECISIONS = pytest.mark.parametrize("precision", ["float64", "float32"])


def constants(module, precision):
    return getattr(module, f"_{precision.upper()}")


def differing(module, precision):
    """Names of the tables that are not what the script derives, to the last bit."""
    held = constants(module, precision)
    derived = elementary_coefficients.tables(precision)
    return [name for name, numbers in derived.items() if getattr(held, name) != numbers]


@PRECISIONS
def test_the_package_holds_what_the_script_derives(precision):
    assert differing(elementary, precision) == []


@PRECISIONS
def test_more_digits_on_the_way_change_nothing(precision, monkeypatch):
    monkeypatch.setattr(elementary_coefficients, "BITS", 2 * elementary_coefficients.BITS)
    assert differing(elementary, precision) == []


def test_one_last_bit_shows(mutant):
    package = mutant("numerics/elementary.py", [("4.7458652037874553e-14", "4.745865203787456e-14")])
    module = importlib.import_module(f"{package.__name__}.numerics.elementary")
    assert module._FLOAT64.C[-1] == math.nextafter(elementary._FLOAT64.C[-1], 1.0)
    assert differing(module, "float64") == ["C"]
    assert differing(module, "float32") == []


@pytest.mark.parametrize(("name", "value", "tables"), [("WIDER", "1.0", ["P", "S", "C"]), ("TANH_TO", "0.27", ["T"])])
@PRECISIONS
def test_another_interval_shows(name, value, tables, precision, monkeypatch):
    monkeypatch.setattr(elementary_coefficients, name, value)
    assert differing(elementary, precision) == tables


@PRECISIONS
def test_products_with_m_are_exact(precision):
    """A part is an odd integer times a power of 2; its digits and those of m fit into one number."""
    held, digits = constants(elementary, precision), {"float64": 53, "float32": 24}[precision]
    largest = {
        "log2": round(max(held.highest, -held.lowest) / math.log(2)),
        "half_pi": round(1e5 / (math.pi / 2)),
    }
    for name, m in largest.items():
        parts = [part for part in getattr(held, name) if part]
        for part in parts[:-1]:
            odd, _ = part.as_integer_ratio()
            assert odd.bit_length() + m.bit_length() <= digits, f"{name}: {part.hex()}"


def test_what_it_prints_can_be_pasted(capsys):
    elementary_coefficients.main()
    _, *printed = capsys.readouterr().out.split("# ")
    assert [block.split()[0] for block in printed] == ["float64", "float32"]
    for block in printed:
        precision, arguments = block.split("\n", 1)
        assert eval(f"dict({arguments})") == elementary_coefficients.tables(precision)
