"""Numbers that authorities give to people: by key, and by check digit with a telling word or shape."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache, lru_cache
from importlib import import_module
from types import ModuleType
from typing import NamedTuple

from anonymizer.detectors.base import Context, Finding, Kind

_NEAR_BYTES = 80
_NEXT_BYTES = 16
_WITH_CENTURY = re.compile(rb"\d{6}[-+]\d{3}[0-9A-Ya-y]")
_NO_PART = re.compile(rb"[^A-Za-z0-9]")


class Family(NamedTuple):
    """
    One country's number.

    ``module`` is the part of python-stdnum that knows its check digits ("" for none), ``words``
    are what it is called (joined by underscores), ``shape`` what it looks like, and ``sure``
    the spelling that needs no word beside it.
    """

    module: str
    words: str
    shape: bytes
    sure: bytes = b""


FAMILIES = (
    Family("us.ssn", "ssn|social_security", rb"\d{3}[-. ]?\d{2}[-. ]?\d{4}", rb"\d{3}([-. ])\d{2}\1\d{4}"),
    Family("us.itin", "itin|taxpayer", rb"9\d{2}[- ]?[5-9]\d[- ]?\d{4}", rb"9\d{2}-[5-9]\d-\d{4}"),
    Family("gb.nhs", "nhs", rb"\d{3}[- ]?\d{3}[- ]?\d{4}"),
    Family(
        "",
        "nino|national_insurance|ni_number",
        rb"[A-CEGHJ-PR-TW-Za-ceghj-pr-tw-z][A-CEGHJ-NPR-TW-Za-ceghj-npr-tw-z] ?(?:\d{2} ?){3}[A-Da-d]",
        rb"[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] (?:\d{2} ){3}[A-D]",
    ),
    Family("ca.sin", "sin|social_insurance", rb"\d{3}[- ]?\d{3}[- ]?\d{3}", rb"\d{3}([- ])\d{3}\1\d{3}"),
    Family("au.tfn", "tfn|tax_file", rb"\d{3}[- ]?\d{3}[- ]?\d{2,3}"),
    Family("", "medicare", rb"[2-6]\d{3}[- ]?\d{5}[- ]?\d"),
    Family("au.abn", "abn|business_number", rb"\d{2} ?\d{3} ?\d{3} ?\d{3}"),
    Family("au.acn", "acn|company_number", rb"\d{3} ?\d{3} ?\d{3}"),
    Family("de.idnr", "steuer_?id|idnr|identifikationsnummer", rb"\d{2} ?\d{3} ?\d{3} ?\d{3}"),
    Family(
        "fr.nir",
        "nir|securite_sociale|insee",
        rb"[12] ?\d{2} ?\d{2} ?(?:\d{2}|2[AB]) ?\d{3} ?\d{3} ?\d{2}",
        rb"[12]( ?)\d{2}\1(?:0[1-9]|1[0-2]|[2-9]\d)\1(?:\d{2}|2[AB])\1\d{3}\1\d{3}\1\d{2}",
    ),
    Family("es.dni", "dni|nif", rb"\d{1,8}-?[A-Za-z]", rb"\d{8}-?[A-Z]"),
    Family("es.nie", "nie|nif", rb"[XYZxyz]-?\d{7}-?[A-Za-z]", rb"[XYZ]-?\d{7}-?[A-Z]"),
    Family(
        "it.codicefiscale",
        "codice_fiscale|fiscal_code",
        rb"[A-Za-z]{6}\d{2}[A-Za-z]\d{2}[A-Za-z]\d{3}[A-Za-z]",
        rb"[A-Z]{6}\d{2}[A-EHLMPRST]\d{2}[A-Z]\d{3}[A-Z]",
    ),
    Family("nl.bsn", "bsn|burgerservicenummer", rb"\d{4}[. ]?\d{2}[. ]?\d{3}"),
    Family("be.nn", "rijksregister|registre_national", rb"\d{2}\.?\d{2}\.?\d{2}-?\d{3}\.?\d{2}"),
    Family("pl.pesel", "pesel", rb"\d{11}"),
    Family("pt.nif", "nif|contribuinte", rb"\d{3} ?\d{3} ?\d{3}"),
    Family("se.personnummer", "personnummer", rb"(?:\d{2})?\d{6}[-+]?\d{4}", rb"\d{6}[-+]\d{4}"),
    Family("dk.cpr", "cpr", rb"\d{6}-?\d{4}"),
    Family("no.fodselsnummer", "fodselsnummer|personnummer", rb"\d{6} ?\d{5}"),
    Family(
        "fi.hetu",
        "hetu|henkil.{1,2}tunnus|personal_identity",
        rb"\d{6}[-+A-FU-Y]\d{3}[0-9A-Y]",
        rb"\d{6}[-+A-FU-Y]\d{3}[0-9A-Y]",
    ),
    Family("ee.ik", "isikukood", rb"\d{11}"),
    Family("cz.rc", "rodne_cislo", rb"\d{6}/?\d{3,4}", rb"\d{6}/\d{4}"),
    Family("ro.cnp", "cnp", rb"[1-9]\d{12}"),
    Family("bg.egn", "egn", rb"\d{10}"),
    Family("gr.amka", "amka", rb"\d{11}"),
    Family("hr.oib", "oib", rb"\d{11}"),
    Family("ie.pps", "pps|ppsn", rb"\d{7}[A-Wa-w][A-IWa-iw]?"),
    Family("ch.ssn", "ahv|avs", rb"756\.?\d{4}\.?\d{4}\.?\d{2}", rb"756(\.?)\d{4}\1\d{4}\1\d{2}"),
    Family("at.vnr", "sozialversicherung", rb"\d{4} ?\d{6}"),
    Family("br.cpf", "cpf", rb"\d{3}\.?\d{3}\.?\d{3}-?\d{2}", rb"\d{3}\.\d{3}\.\d{3}-\d{2}"),
    Family("br.cnpj", "cnpj", rb"\d{2}\.?\d{3}\.?\d{3}/?\d{4}-?\d{2}", rb"\d{2}\.\d{3}\.\d{3}/\d{4}-\d{2}"),
    Family("ar.cuit", "cuit|cuil", rb"\d{2}-?\d{8}-?\d", rb"(?:2[0347]|3[034])-\d{8}-\d"),
    Family("cl.rut", "rut", rb"\d{1,2}\.?\d{3}\.?\d{3}-?[\dKk]", rb"\d{1,2}\.\d{3}\.\d{3}-[\dKk]"),
    Family(
        "mx.curp",
        "curp",
        rb"[A-Za-z]{4}\d{6}[HMhm][A-Za-z]{5}[A-Za-z0-9]\d",
        rb"[A-Z]{4}\d{6}[HM][A-Z]{5}[A-Z0-9]\d",
    ),
    Family(
        "in_.aadhaar",
        "aadhaar|uidai",
        rb"[2-9]\d{3}[- :]?\d{4}[- :]?\d{4}",
        rb"[2-9]\d{3}([- :])\d{4}\1\d{4}",
    ),
    Family("in_.pan", "pan|permanent_account", rb"[A-Za-z]{3}[AaBbCcFfGgHhJjLlPpTt][A-Za-z]\d{4}[A-Za-z]"),
    Family("", "voter|epic", rb"[A-Za-z]{3}\d{7}"),
    Family("cn.ric", "resident_id|shenfenzheng", rb"\d{17}[\dXx]", rb"[1-8]\d{16}[\dX]"),
    Family("kr.rrn", "rrn|resident_registration", rb"\d{6}-?[0-9]\d{6}", rb"\d{6}-[1-8]\d{6}"),
    Family(
        "th.pin",
        "tnin|thai",
        rb"\d[- ]?\d{4}[- ]?\d{5}[- ]?\d{2}[- ]?\d",
        rb"\d([- ])\d{4}\1\d{5}\1\d{2}\1\d",
    ),
    Family("", "nric|fin", rb"[STFGMstfgm]\d{7}[A-Za-z]"),
    Family("tr.tckimlik", "tckn|kimlik", rb"[1-9]\d{10}"),
    Family("il.idnr", "teudat_zehut", rb"\d{9}"),
    Family("za.idnr", "sa_id|rsa_id", rb"\d{13}"),
    Family("ru.inn", "inn", rb"\d{10}(?:\d{2})?"),
)

# What such numbers are called where the country does not matter.
_PAPERS = (
    r"passport|national_?id(?:entification|entity)?|identity_?card|id_?card|id_?document|"
    r"(?:driver|driving)_?s?_?licen[sc]e|licen[sc]e|tax|taxpayer|vat|insurance|social_?security|health_?insurance|"
    r"medical_?record|medical_?licen[sc]e|mrn|mbi|dea|npi|tin|nin|personal_?(?:id|identity)_?(?:code|card)?|"
    r"personal_?(?:number|code)|identity|voter_?(?:id|card)?|residence_?permit|vehicle_?registration|"
    r"licen[sc]e_?plate|number_?plate"
)
_ENDINGS = r"(?:_?(?:number|num|no|nr|id|code|fin|card))?"
_WORDS = "|".join(family.words for family in FAMILIES)
_SHORT_PAPERS = r"(?:passport|national_?id|identity_?card|id_?card|tin|nin|mrn|mbi|driver_?s?_?licen[sc]e)"
_KEY = re.compile(
    rf"(?:^|_)(?:(?:{_WORDS}){_ENDINGS}|(?:{_PAPERS})_?(?:number|num|no|nr|id|code)|{_SHORT_PAPERS})$"
)
# These are also words for anything else: a pan gesture, the sine, an account's id.
_NOT_ALONE = re.compile(r"^(?:pan|sin|fin|inn|nie|epic|thai|identity_id|pps|voter|acn|rut)$")
_NUMBER = re.compile(rb"(?=(?:[^0-9]*[0-9]){3})[A-Za-z0-9][A-Za-z0-9 ./+:*-]{2,60}[A-Za-z0-9]")
_PAPER_TOLD = re.compile(
    rf"(?i:\b(?:(?:{_PAPERS})[ _-]?(?:number|num|no|nr|id|code)|{_SHORT_PAPERS})\b)".replace(
        "_?", "[ _'-]?"
    ).encode()
    + rb"(?:[ ']{0,2}(?i:card|number|num|no|nr|is|was|reads)\b|[ .:#=,(]{1,2}){0,6}"
    + rb"(?!\d{4}-\d\d-\d\d)((?=(?:[A-Z-]*\d){3})[A-Z0-9][A-Z0-9-]{4,18}[A-Z0-9])(?![A-Za-z0-9])"
)
_WORD_TOLD = re.compile(
    r"(?i)(?<![A-Za-z0-9])(?:"
    + "|".join(f"({family.words})".replace("_?", "_").replace("_", "[ _-]?") for family in FAMILIES)
    + r")(?![A-Za-z])"
)
_DIGITS = re.compile(rb"\d{3}|\d\d[-. ]\d\d[-. ]\d\d")
_SURE = tuple(family for family in FAMILIES if family.sure)
_SURE_HINT = b"|".join(
    re.sub(rb"\((?!\?)", b"(?:", family.sure).replace(rb"\1", b"[-. :]?") for family in _SURE
)
_WORD_HINT = f"(?i:{_WORD_TOLD.pattern.removeprefix('(?i)')}|{_PAPERS}|{_SHORT_PAPERS})".replace(
    "_?", "[ _'-]?"
)
HINT = re.compile(_SURE_HINT + b"|" + _WORD_HINT.encode())
"""Found in every text that holds such a number without a telling key."""


@lru_cache(maxsize=16_384)
def key_tells(key: str) -> bool:
    """Whether what stands under ``key`` may be such a number for that alone."""
    return _KEY.search(key) is not None and _NOT_ALONE.search(key) is None


def find(text: bytes, context: Context) -> Iterator[Finding]:
    """Every number of an authority in ``text``."""
    if len(text) < 5:
        return
    telling = key_tells(context.key)
    if telling and _NUMBER.fullmatch(text.strip()):
        start = len(text) - len(text.lstrip())
        yield Finding(Kind.NATIONAL_ID, start, start + len(text.strip()))
    elif not context.number:
        yield from _in_prose(text, context.key if telling else "")


def family_of(value: bytes) -> Family | None:
    """The first country whose shape and check digits ``value`` (without separators) has."""
    for family, pattern in zip(FAMILIES, _shapes(), strict=True):
        if family.module and pattern.fullmatch(value) and is_valid(family, value):
            return family
    return None


def is_valid(family: Family, value: bytes) -> bool:
    """Whether the check digits of ``value`` are right; true where there are none."""
    if not family.module:
        return True
    # numbers that are given for a time are numbers of somebody too
    options = {"allow_temporary": True} if family.module == "fi.hetu" else {}
    try:
        return bool(_checker(family.module).is_valid(compact(value).decode("ascii"), **options))
    except KeyError:  # stdnum knows the province in a Chinese number and looks for its county in vain
        return False


def compact(value: bytes) -> bytes:
    """``value`` in capitals without separators, save for the sign that tells the century in Finland."""
    if _WITH_CENTURY.fullmatch(value):
        return value.upper()
    return _NO_PART.sub(b"", value).upper()


def _in_prose(text: bytes, key: str) -> Iterator[Finding]:
    spans = {match.span(1) for match in _PAPER_TOLD.finditer(text)}
    if _DIGITS.search(text):
        spans |= {
            match.span()
            for family, pattern in zip(_SURE, _sure_shapes(), strict=True)
            for match in pattern.finditer(text)
            if is_valid(family, match[0])
        }
        words = [(match.start(), match.end(), match) for match in _WORD_TOLD.finditer(text.decode("latin-1"))]
        words += [(0, 0, match) for match in _WORD_TOLD.finditer(key)]
        for first, last, word in words:
            number = (word.lastindex or 1) - 1
            near = _shapes()[number].finditer(text, max(0, first - _NEAR_BYTES), last + _NEAR_BYTES)
            # right after its name a number is one even with a wrong check digit
            spans |= {
                match.span()
                for match in near
                if 0 <= match.start() - last <= _NEXT_BYTES or is_valid(FAMILIES[number], match[0])
            }
    for start, stop in sorted(spans):
        yield Finding(Kind.NATIONAL_ID, start, stop)


@cache
def _shapes() -> tuple[re.Pattern[bytes], ...]:
    return tuple(_alone(family.shape) for family in FAMILIES)


@cache
def _sure_shapes() -> tuple[re.Pattern[bytes], ...]:
    return tuple(_alone(family.sure) for family in _SURE)


def _alone(shape: bytes) -> re.Pattern[bytes]:
    return re.compile(rb"(?<![A-Za-z0-9])(?<![-.]\d)(?:" + shape + rb")(?![A-Za-z0-9]|[-.]\d)")


@cache
def _checker(module: str) -> ModuleType:
    return import_module(f"stdnum.{module}")
