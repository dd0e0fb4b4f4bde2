"""Paragraphs of Debian's control files."""

from compiler_dojo.envs.programs.sources.paragraphs import fields_of


def test_fields_of__gives_lines_that_continue_to_their_field() -> None:
    fields = fields_of(
        "Package:  a \nChecksums-Sha256:\n 00 1 a.tar.gz\n 11 2 b.tar.gz\nLicense: X\n\tY: Z\nno field\n"
    )
    assert fields == {"package": "a", "checksums-sha256": "\n 00 1 a.tar.gz\n 11 2 b.tar.gz", "license": "X\n\tY: Z"}
