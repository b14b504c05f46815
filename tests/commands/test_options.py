"""Tests of the values that options accept, and of the messages about values that they refuse."""

import argparse

import pytest

from edgel3_np.commands import options
from edgel3_np.commands.options import seconds, shard, time_span, whole_number, whole_numbers


@pytest.mark.parametrize(
    "parse, text, value",
    [
        (whole_number(), "1", 1),
        (whole_number(), "1000000", 1000000),
        (whole_number(high=256), "256", 256),
        (whole_number(low=0), "0", 0),
        (whole_numbers(), "1", [1]),
        (whole_numbers(high=4), "1,2,4", [1, 2, 4]),
        (seconds, "0.1", 0.1),
        (seconds, "5", 5.0),
        (seconds, "1e-3", 0.001),
        (shard, "1/1", (1, 1)),
        (shard, "2/8", (2, 8)),
        (time_span, "9", 9.0),
        (time_span, "0.5", 0.5),
        (time_span, "7-9", (7.0, 9.0)),
        (time_span, "7.25-7.25", (7.25, 7.25)),
    ],
)
def test_values(parse, text, value):
    found = parse(text)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    "parse, text, message",
    [
        (whole_number(), "0", "expected a whole number above 0, found '0'"),
        (whole_number(), "-1", "expected a whole number above 0, found '-1'"),
        (whole_number(), "1_0", "expected a whole number above 0, found '1_0'"),
        (whole_number(), "+2", "expected a whole number above 0, found '+2'"),
        (whole_number(), " 2", "expected a whole number above 0, found ' 2'"),
        (whole_number(), "1.5", "expected a whole number above 0, found '1.5'"),
        (whole_number(), "", "expected a whole number above 0, found ''"),
        (whole_number(high=256), "9" * 5000, "expected a whole number from 1 to 256, found '999"),
        (whole_number(high=256), "257", "expected a whole number from 1 to 256, found '257'"),
        (whole_number(high=256), "two", "expected a whole number from 1 to 256, found 'two'"),
        (whole_numbers(high=4), "1,5", "expected a whole number from 1 to 4, found '5'"),
        (whole_numbers(), "1,", "expected a whole number above 0, found ''"),
        (seconds, "0", "expected a number of seconds above 0, up to 1e+09, found '0'"),
        (seconds, "-1", "found '-1'"),
        (seconds, "nan", "found 'nan'"),
        (seconds, "inf", "found 'inf'"),
        (seconds, "x", "seconds, found 'x'"),
        (shard, "3/2", "expected K/N with 1 <= K <= N, such as 2/8, found '3/2'"),
        (shard, "0/2", "found '0/2'"),
        (shard, "1", "found '1'"),
        (shard, "1/2/3", "found '1/2/3'"),
        (time_span, "x", "expected a time in seconds such as 9, or the first and the last such as 7-9, found 'x'"),
        (time_span, "9-7", "found '9-7'"),
        (time_span, "-7", "found '-7'"),
        (time_span, "1e3", "found '1e3'"),
        (time_span, "", "found ''"),
    ],
)
def test_errors(parse, text, message):
    with pytest.raises(argparse.ArgumentTypeError) as caught:
        parse(text)
    assert message in str(caught.value) and not str(caught.value).startswith("option")


def test_argparse_names_the_option(capsys):
    parser = argparse.ArgumentParser(prog="p")
    parser.add_argument("-j", "--jobs", type=whole_number())
    with pytest.raises(SystemExit):
        parser.parse_args(["-j", "x"])
    assert "p: error: argument -j/--jobs: expected a whole number above 0, found 'x'" in capsys.readouterr().err


def test_options_of_embedding_have_short_and_long_names():
    parser = argparse.ArgumentParser()
    options.add_embedding_options(parser.add_argument)
    assert vars(parser.parse_args([])) == {"model": None, "dim": None, "hop_size": 0.1, "no_centering": False}
    long = ["--model", "m", "--audio-embedding-size", "64", "--audio-hop-size", "0.5", "--no-audio-centering"]
    for arguments in (["-m", "m", "-as", "64", "-t", "0.5", "-n"], long):
        found = vars(parser.parse_args(arguments))
        assert found == {"model": "m", "dim": 64, "hop_size": 0.5, "no_centering": True}
