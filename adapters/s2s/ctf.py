"""A reader of the Common Transfer File (CTF): its bytes in, one body per pupil in the words of the vocabulary out.

The one adapter that sees what a record says: every other hands sealed bytes over. It decides nothing: the caller
names the paths that an agreement grants, and a person decides about the rest. So nothing is lost silently: every
element that holds something and is not carried into the body is named, by its element path, never by its value.

Only the main elements are read (`cme-facts` sections 1.4 and 1.5); assessments, attendance marks, supplier extensions
and grounds of removal, whose codes are not published, are named as left out. Elements are found by local name: real
files have no namespace, the older schema had one. No document type declaration, so no entities; no network.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from lxml import etree  # type: ignore[import-untyped]

from contracts.register import vocabulary

MAX_FILE: Final = 4 * 1024 * 1024  # bytes: what the School to School service lets a school send
MAX_DEPTH: Final = 16  # twice as deep as any element read here
MAX_PUPILS: Final = 2_000  # a large school's whole roll
MAX_ELEMENTS: Final = 250_000  # several hundred for each of several hundred pupils

RELATIONSHIPS: Final[Mapping[str, str]] = {
    # CBDS code -> vocabulary code. Only the first four were seen in files or code; the others are from memory of the
    # code set, so this table is data to correct, and a code that is not in it is named as left out.
    "PAM": "mother",
    "PAF": "father",
    "REL": "other-relative",
    "OTH": "other",
    "STM": "step-parent",
    "STF": "step-parent",
    "FOM": "foster-carer",
    "FOF": "foster-carer",
    "GPA": "grandparent",
    "SOW": "social-worker",
    "CAR": "other",
}

NOT_GRANTED: Final = "not granted for this message"
NO_PLACE: Final = "not carried into a message"

_ENCODINGS = {"utf-8": "utf-8", "us-ascii": "ascii", "iso-8859-1": "iso-8859-1", "windows-1252": "cp1252"}
_DECLARATION = re.compile(rb"""\A<\?xml[^>]*?\sencoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["'][^>]*\?>""")
_AUTHORITY = re.compile(r"[0-9]{3}|XXX|MMM")
_NUMBER = re.compile(r"[0-9]{4}|LLLL|XXXX|MMMM")
_VERSION = re.compile(r"[0-9]{1,2}\.[0-9]")
_QUALIFIER = re.compile(r"full|partial")
# CBDS BS7666: start number (4), suffix (1), end number (4), suffix (1), then text; blanks where there is none.
_FIXED_WIDTH = re.compile(r"([ 0-9]{4})([A-Z ])([ 0-9]{4})([A-Z ])(.*)", re.DOTALL)
_BARE_NUMBER = re.compile(r"[0-9]{1,4}[A-Z]?(-[0-9]{1,4}[A-Z]?)?")
_TELEPHONE_PREFERENCE = "MHW"  # mobile, home, work; anything else after them
_YES_NO = {"true": True, "false": False, "Y": True, "N": False, "1": True, "0": False}

# An element name can be made up, and so be a message: only these are ever repeated, any other stands as "?".
_ELEMENTS = frozenset(
    """
    CTfile Header DocumentName CTFversion DateTime DocumentQualifier DataQualifier DataDescriptor SupplierID
    SourceSchool DestSchool LEA Estab URN SchoolName AcademicYear SuppID SuppInfo CTFpupilData Pupil
    UPN UniqueLearnerNumber UCI Surname Forename DOB Gender Sex BasicDetails FormerUPN PreferredSurname
    PreferredForename FormerSurname FormerForename MiddleNames NCyearActual Ethnicity EthnicitySource Languages Type
    LanguageType Language ServiceChild MedicalFlag Disabilities Disability EnrolStatus FSMhistory FSMreviewDate
    FSMinstance FSMstartDate FSMendDate UKcountry NAWdetails LookedAfter InCare CareAuthority SENhistory SEN StartDate
    SENprovision EndDate SENneeds SENneed NeedStartDate SENtypeRank SENtype Address BS7666Address SAON PAON Street
    Locality Town AdministrativeArea PostTown UniquePropertyReferenceNumber AddressLines AddressLine1 AddressLine2
    AddressLine3 AddressLine4 AddressLine5 County PostCode ZIP Country Easting Northing AddressAsPupil Phones Phone
    TelephoneType PhoneNo Email Contacts Contact Order Title Relationship Responsibility Attendance YearData Year
    SessionsPossible SessionsAuthorised SessionsAttended SessionsUnauthorised AttendSessions AttendanceStartDate
    AttendanceMarks StageAssessments KeyStage Stage StageAssessment Locale Subject Method Component ResultStatus
    ResultQualifier Result ResultDate SchoolHistory School EntryDate LeavingDate LeavingReason LastSchool
    RemovalGrounds BirthCertificate Religion EnglishAsAdditionalLanguage CourtOrder
    """.split()  # noqa: SIM905 - a hundred quotation marks would hide the names
)

_PUPIL: Final = (
    ("UPN", "child.upn"),
    ("UniqueLearnerNumber", "child.uln"),
    ("Surname", "child.name.family"),
    ("Forename", "child.name.given"),
    ("DOB", "child.date_of_birth"),
    ("BasicDetails/FormerUPN", "child.former_upn"),
    ("BasicDetails/PreferredSurname", "child.name.preferred_family"),
    ("BasicDetails/PreferredForename", "child.name.preferred_given"),
    ("BasicDetails/FormerSurname", "child.name.former_family"),
    ("BasicDetails/MiddleNames", "child.name.middle"),
    ("BasicDetails/NCyearActual", "child.year_group"),
    ("BasicDetails/Ethnicity", "child.ethnicity"),
    ("LookedAfter/InCare", "child.looked_after"),
    ("LookedAfter/CareAuthority", "care.authority"),
)
_CONTACT: Final = (
    ("Title", "contacts[].title"),
    ("Surname", "contacts[].name.family"),
    ("Forename", "contacts[].name.given"),
    ("Responsibility", "contacts[].parental_responsibility"),
    ("Email", "contacts[].email"),
)
_YEAR: Final = (
    ("SessionsPossible", "attendance.sessions_possible"),
    ("SessionsAttended", "attendance.sessions_attended"),
    ("SessionsAuthorised", "attendance.authorised_absences"),
    ("SessionsUnauthorised", "attendance.unauthorised_absences"),
)
_CURRENT_SCHOOL: Final = (
    ("URN", "school.urn"),
    ("SchoolName", "school.name"),
    ("EntryDate", "school.start_date"),
    ("LeavingDate", "school.last_attended"),
)
_PREVIOUS_SCHOOL: Final = (
    ("URN", "previous_schools[].urn"),
    ("SchoolName", "previous_schools[].name"),
    ("EntryDate", "previous_schools[].from"),
    ("LeavingDate", "previous_schools[].to"),
)


class CtfError(Exception):
    """A file that is no Common Transfer File: `place` is an element path or a line, `rule` what it breaks."""

    code = "ctf.malformed"

    def __init__(self, rule: str, place: str) -> None:
        self.rule = rule
        self.place = place
        super().__init__(f"{place}: {rule}")


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """An element that holds something and is not in the body."""

    element: str
    rule: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Establishment:
    """A school or authority by its DfE number; `number` is LLLL for an authority, XXXX or MMMM where none is known."""

    authority: str
    number: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pupil:
    """One pupil. `court_order`: the file says there is one, which alone makes the child's whereabouts protected."""

    body: dict[str, Any] = field(repr=False)
    left_out: tuple[LeftOut, ...]
    court_order: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferFile:
    """A file as read: `version` such as `25.0`, `qualifier` full or partial; None where it says something else."""

    version: str | None
    qualifier: str | None
    source: Establishment
    destination: Establishment
    pupils: tuple[Pupil, ...]


def read_transfer_file(data: bytes, *, only: Collection[str] | None) -> TransferFile:
    """Return what a Common Transfer File says, each body limited to the generic paths in `only` (None: all).

    A value that is not valid at its path (a UPN with the wrong check letter) is left out and named, never a reason to
    refuse the file. Raises CtfError where there is no telling who the file is about.
    """
    root = _parse(data)
    if root.name != "CTfile":
        raise CtfError("the outermost element is not CTfile", "CTfile")
    header = _required(root, "Header")
    source = _required(header, "SourceSchool")
    pupils = [pupil for part in root.all("CTFpupilData") for pupil in part.all("Pupil")]
    if not 1 <= len(pupils) <= MAX_PUPILS:
        raise CtfError(f"holds no pupil, or more than {MAX_PUPILS}", "CTfile/CTFpupilData")
    return TransferFile(
        version=_one_of(_VERSION, header.find("CTFversion")),
        qualifier=_one_of(_QUALIFIER, header.find("DocumentQualifier")),
        source=_establishment(source),
        destination=_establishment(_required(header, "DestSchool")),
        pupils=tuple(_read_pupil(pupil, source, only) for pupil in pupils),
    )


# --- XML


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Node:
    """An element: `name` is its local name or "?", `place` its path of such names from the pupil (or the root) down."""

    name: str
    place: str
    text: str = field(repr=False)
    children: tuple[_Node, ...]

    def all(self, name: str) -> Iterator[_Node]:
        return (child for child in self.children if child.name == name)

    def find(self, path: str) -> _Node | None:
        """Return the one element at a path below; None where there is none, or several: no choice is guessed."""
        node: _Node | None = self
        for name in path.split("/"):
            found = tuple(node.all(name)) if node else ()
            node = found[0] if len(found) == 1 else None
        return node

    def everything(self) -> Iterator[_Node]:
        yield self
        for child in self.children:
            yield from child.everything()


def _parse(data: bytes) -> _Node:
    if len(data) > MAX_FILE:
        raise CtfError(f"larger than {MAX_FILE} bytes", "CTfile")
    # Every encoding accepted below writes ASCII as ASCII and none uses NUL, so that no declaration can hide from this.
    if b"\0" in data or b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise CtfError("holds a document type declaration, or is not text", "CTfile")
    declared = _DECLARATION.match(data.removeprefix(b"\xef\xbb\xbf"))
    encoding = _ENCODINGS.get(declared[1].decode("ascii").lower() if declared else "utf-8")
    if encoding is None:
        raise CtfError("is in an encoding other than UTF-8, US-ASCII, ISO-8859-1 or Windows-1252", "CTfile")
    try:
        text = data.removeprefix(b"\xef\xbb\xbf").decode(encoding)
    except UnicodeDecodeError:
        raise CtfError("holds bytes that its encoding has not", "CTfile") from None
    parser = etree.XMLParser(
        encoding="utf-8",
        resolve_entities=False,
        load_dtd=False,
        no_network=True,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        root = etree.fromstring(text.encode("utf-8"), parser)
    except etree.XMLSyntaxError as error:
        raise CtfError("not well-formed XML", f"line {error.lineno}") from None
    if sum(1 for _ in root.iter()) > MAX_ELEMENTS:
        raise CtfError(f"holds more than {MAX_ELEMENTS} elements", "CTfile")
    return _node(root, "", 1)


def _node(element: etree._Element, above: str, depth: int) -> _Node:
    name = etree.QName(element).localname
    name = name if name in _ELEMENTS else "?"
    place = name if name == "Pupil" or not above else f"{above}/{name}"
    if depth > MAX_DEPTH:
        raise CtfError(f"nested deeper than {MAX_DEPTH}", place)
    return _Node(
        name=name,
        place=place,
        text=(element.text or "") + "".join(child.tail or "" for child in element),
        children=tuple(_node(child, place, depth + 1) for child in element),
    )


def _one_of(pattern: re.Pattern[str], node: _Node | None) -> str | None:
    text = _text(node)
    return text if text and pattern.fullmatch(text) else None


def _required(node: _Node, path: str) -> _Node:
    found = node.find(path)
    if found is None:
        raise CtfError("missing, or there more than once", f"{node.place}/{path}")
    return found


def _text(node: _Node | None) -> str | None:
    """Return the text with runs of white space folded and ends trimmed, None where there is none."""
    return " ".join(node.text.split()) or None if node else None


# --- one pupil


class _Draft:
    """A body being filled, and what became of every element looked at."""

    def __init__(self, only: Collection[str] | None) -> None:
        self.body: dict[str, Any] = {}
        self.left_out: dict[str, str] = {}
        self._only = None if only is None else frozenset(only)
        self._seen: set[_Node] = set()

    def put(self, into: dict[str, Any], path: str, value: object, sources: Iterable[_Node | None]) -> None:
        """Place a value below `into`, the body or the list item that `path` leads to; name its sources if it may not."""
        nodes = [node for node in sources if node is not None]
        self._seen.update(nodes)
        if value is None:
            return
        kind = vocabulary().fields[path].type
        if self._only is not None and path not in self._only:
            self._leave(nodes, NOT_GRANTED)
        elif not kind.accepts(value):
            self._leave(nodes, f"not a valid {kind.label}")
        else:
            *objects, leaf = path.rpartition("[].")[2].split(".")
            for name in objects:
                into = into.setdefault(name, {})
            into[leaf] = value

    def read(self, into: dict[str, Any], path: str, node: _Node | None) -> None:
        """Place the text of one element, turned into the type that the path has."""
        self.put(into, path, _converted(path, _text(node)), [node])

    def read_all(self, into: dict[str, Any], table: Iterable[tuple[str, str]], node: _Node) -> None:
        for element, path in table:
            self.read(into, path, node.find(element))

    def add(self, name: str, item: dict[str, Any]) -> None:
        """Append a list item, unless nothing of it may be carried."""
        if item:
            self.body.setdefault(name, []).append(item)

    def consumed(self, *nodes: _Node | None) -> None:
        """Say that elements served to understand others, and hold nothing more."""
        self._seen.update(node for node in nodes if node is not None)

    def finish(self, pupil: _Node) -> tuple[LeftOut, ...]:
        """Name everything that holds text, in the order of the file."""
        self._leave((node for node in pupil.everything() if _text(node) and node not in self._seen), NO_PLACE)
        order = dict.fromkeys(node.place for node in pupil.everything())
        places = [place for place in self.left_out if place not in order] + [p for p in order if p in self.left_out]
        return tuple(LeftOut(element=place, rule=self.left_out[place]) for place in places)

    def _leave(self, nodes: Iterable[_Node], rule: str) -> None:
        for node in nodes:
            self.left_out.setdefault(node.place, rule)


def _read_pupil(pupil: _Node, source: _Node, only: Collection[str] | None) -> Pupil:
    for name in ("Surname", "Forename", "DOB"):
        if _text(_required(pupil, name)) is None:
            raise CtfError("empty", f"{pupil.place}/{name}")
    draft = _Draft(only)
    draft.read_all(draft.body, _PUPIL, pupil)
    sex = pupil.find("Sex")  # written since about version 23; `Gender` before
    draft.read(draft.body, "child.sex", sex if _text(sex) else pupil.find("Gender"))
    _read_language(draft, pupil)
    _read_medical_flag(draft, pupil)
    _read_free_meals(draft, pupil)
    _read_special_needs(draft, pupil)
    home = _read_address(pupil.find("Address"))
    draft.put(draft.body, "child.address.lines", home.lines, home.line_nodes)
    draft.put(draft.body, "child.address.town", home.town, home.town_nodes)
    draft.read(draft.body, "child.address.postcode", home.postcode)
    draft.read(draft.body, "child.address.uprn", home.uprn)
    _read_contacts(draft, pupil, home)
    _read_attendance(draft, pupil)
    _read_schools(draft, pupil, source)
    court_order = any(
        _YES_NO.get(said, True)
        for node in pupil.everything()
        if node.name == "CourtOrder" and (said := _text(node)) is not None
    )
    return Pupil(left_out=draft.finish(pupil), body=draft.body, court_order=court_order)


def _converted(path: str, text: str | None) -> object:
    """Return the text as the JSON value of the path's type; what cannot be converted stays text, and is not valid."""
    if text is None:
        return None
    match vocabulary().fields[path].type.text:
        case "yes-no":
            return _YES_NO.get(text, text)
        case "count":
            return int(text) if re.fullmatch(r"[0-9]{1,6}", text) else text
        case "postcode":
            return text.upper()
        case "phone":
            return " ".join(re.sub(r"[().\-]", " ", text).split())
        case "digits:12":  # a property reference number is written with and without its leading zeros
            return text.zfill(12)
        case _:
            return text


def _read_language(draft: _Draft, pupil: _Node) -> None:
    for kind in (kind for basic in pupil.all("BasicDetails") for kind in _below(basic, "Languages", "Type")):
        if _text(kind.find("LanguageType")) == "F":
            draft.consumed(kind.find("LanguageType"))
            draft.read(draft.body, "child.first_language", kind.find("Language"))


def _read_medical_flag(draft: _Draft, pupil: _Node) -> None:
    """The flag says that something is known to the school, not what: a fixed sentence, which a person may replace."""
    flag = pupil.find("BasicDetails/MedicalFlag")
    if _YES_NO.get(_text(flag) or "") is True:
        draft.put(draft.body, "health.relevant_condition", "Medical flag set in the transfer file", [flag])


def _read_free_meals(draft: _Draft, pupil: _Node) -> None:
    """Eligible where a period has begun and no end is written."""
    periods = list(_below(pupil, "FSMhistory", "FSMinstance"))
    if periods:
        dates = [n for period in periods for n in period.children if n.name in ("FSMstartDate", "FSMendDate")]
        eligible = any(_says(period, "FSMstartDate") and not _says(period, "FSMendDate") for period in periods)
        draft.put(draft.body, "child.fsm_eligible", eligible, dates)


def _read_special_needs(draft: _Draft, pupil: _Node) -> None:
    periods = [sen for sen in _below(pupil, "SENhistory", "SEN") if not _says(sen, "EndDate")]
    if periods:
        current = max(periods, key=lambda sen: _text(sen.find("StartDate")) or "")
        draft.consumed(current.find("StartDate"))
        draft.read(draft.body, "send.provision", current.find("SENprovision"))
    needs = sorted(
        (need for part in pupil.all("SENhistory") for need in _below(part, "SENneeds", "SENneed")),
        key=lambda need: _rank(need.find("SENtypeRank")),
    )
    if needs:
        draft.consumed(*(need.find("SENtypeRank") for need in needs))
        types = [need.find("SENtype") for need in needs]
        draft.put(draft.body, "send.needs", [text for node in types if (text := _text(node))], types)


def _read_contacts(draft: _Draft, pupil: _Node, home: _Address) -> None:
    for contact in sorted(_below(pupil, "Contacts", "Contact"), key=lambda c: _rank(c.find("Order"))):
        item: dict[str, Any] = {}
        draft.consumed(contact.find("Order"))
        relationship = contact.find("Relationship")
        code = _text(relationship)
        draft.put(item, "contacts[].relationship", code and RELATIONSHIPS.get(code.upper(), code), [relationship])
        draft.read_all(item, _CONTACT, contact)
        _read_telephone(draft, item, contact)
        _read_contact_address(draft, item, contact.find("Address"), home)
        draft.add("contacts", item)


def _read_telephone(draft: _Draft, item: dict[str, Any], contact: _Node) -> None:
    """A message carries one number for each contact: the mobile one, else home, work, any."""
    path = "contacts[].telephone"
    accepts = vocabulary().fields[path].type.accepts

    def rank(phone: _Node) -> tuple[bool, int]:
        position = _TELEPHONE_PREFERENCE.find(_text(phone.find("TelephoneType")) or "?")
        valid = accepts(_converted(path, _text(phone.find("PhoneNo"))))
        return not valid, position if position >= 0 else len(_TELEPHONE_PREFERENCE)

    phones = sorted(_below(contact, "Phones", "Phone"), key=rank)
    if phones:
        draft.consumed(phones[0].find("TelephoneType"))
        draft.read(item, path, phones[0].find("PhoneNo"))


def _read_contact_address(draft: _Draft, item: dict[str, Any], node: _Node | None, home: _Address) -> None:
    as_pupil = node.find("AddressAsPupil") if node else None
    if _YES_NO.get(_text(as_pupil) or "") is True:
        draft.consumed(as_pupil)
        draft.put(item, "contacts[].address.lines", _four([*(home.lines or ()), home.town]), [as_pupil])
        draft.put(item, "contacts[].address.postcode", _converted_postcode(home.postcode), [as_pupil])
        return
    own = _read_address(node)
    draft.put(item, "contacts[].address.lines", _four([*(own.lines or ()), own.town]), own.line_nodes + own.town_nodes)
    draft.read(item, "contacts[].address.postcode", own.postcode)


def _converted_postcode(node: _Node | None) -> object:
    return _converted("contacts[].address.postcode", _text(node))


def _read_attendance(draft: _Draft, pupil: _Node) -> None:
    years = list(_below(pupil, "Attendance", "YearData"))
    if years:
        latest = max(years, key=lambda year: _text(year.find("Year")) or "")
        draft.consumed(latest.find("Year"))
        draft.read_all(draft.body, _YEAR, latest)


def _read_schools(draft: _Draft, pupil: _Node, source: _Node) -> None:
    """The sending school is the current one; where an authority sends, the school last entered."""
    schools = sorted(_below(pupil, "SchoolHistory", "School"), key=lambda s: _text(s.find("EntryDate")) or "")
    if not schools:
        if (_text(source.find("Estab")) or "").isdigit():
            draft.read_all(draft.body, _CURRENT_SCHOOL[:2], source)
        return
    senders = [s for s in schools if _establishment_number(s) == _establishment_number(source)]
    current = (senders or schools)[-1]
    draft.read_all(draft.body, _CURRENT_SCHOOL, current)
    for school in schools:
        if school is not current:
            item: dict[str, Any] = {}
            draft.read_all(item, _PREVIOUS_SCHOOL, school)
            draft.add("previous_schools", item)


def _establishment_number(node: _Node) -> tuple[str | None, str | None]:
    return _text(node.find("LEA")), _text(node.find("Estab"))


def _establishment(node: _Node) -> Establishment:
    authority = _one_of(_AUTHORITY, _required(node, "LEA"))
    number = _one_of(_NUMBER, _required(node, "Estab"))
    if authority is None or number is None:
        raise CtfError("not three and four digits, or the letters that stand for them", node.place)
    return Establishment(authority=authority, number=number)


def _below(node: _Node, outer: str, inner: str) -> Iterator[_Node]:
    return (found for part in node.all(outer) for found in part.all(inner))


def _says(node: _Node, name: str) -> bool:
    return any(_text(child) for child in node.all(name))


def _rank(node: _Node | None) -> int:
    """Return a small number as written; what has none comes last."""
    text = _text(node)
    return int(text) if text and re.fullmatch(r"[0-9]{1,4}", text) else 10_000


# --- addresses


@dataclass(frozen=True, slots=True, kw_only=True)
class _Address:
    lines: list[str] | None = field(repr=False)
    town: str | None = field(repr=False)
    line_nodes: tuple[_Node, ...]
    town_nodes: tuple[_Node, ...]
    postcode: _Node | None
    uprn: _Node | None


def _read_address(node: _Node | None) -> _Address:
    """Return an address of either form: BS7666 with its fixed-width numbers, or plain lines."""
    if node is None:
        return _Address(lines=None, town=None, line_nodes=(), town_nodes=(), postcode=None, uprn=None)
    nodes: list[_Node] = []
    towns: list[_Node] = []
    lines: list[str | None] = []
    if located := node.find("BS7666Address"):
        saon, paon, street = (located.find(name) for name in ("SAON", "PAON", "Street"))
        locality, town, post_town = (located.find(name) for name in ("Locality", "Town", "PostTown"))
        nodes = [found for found in (saon, paon, street, locality) if found]
        towns = [found for found in (town, post_town) if _text(found) and found]
        number, road = _numbered(paon), _text(street)
        lines = [_numbered(saon), number, road, _text(locality)]
        if number and road and _BARE_NUMBER.fullmatch(number):
            lines[1:3] = [f"{number} {road}"]
        # Both towns are rarely written; where they differ, the post town is the town and the other one more line.
        if len(towns) == 2 and _text(town) != _text(post_town):
            nodes.append(towns.pop(0))
            lines.append(_text(town))
    elif plain := node.find("AddressLines"):
        nodes = [line for line in plain.children if line.name.startswith("AddressLine")]
        lines = [_text(line) for line in nodes]
    return _Address(
        lines=_four(lines),
        town=_text(towns[-1]) if towns else None,
        line_nodes=tuple(nodes),
        town_nodes=tuple(towns),
        postcode=node.find("PostCode"),
        uprn=node.find("BS7666Address/UniquePropertyReferenceNumber"),
    )


def _numbered(node: _Node | None) -> str | None:
    """Return a PAON or SAON for people: `   1      Example House` is `1 Example House`, `  12A  14 ` is `12A-14`."""
    fixed = _FIXED_WIDTH.fullmatch(node.text.strip("\r\n\t")) if node else None
    if fixed is None:
        return _text(node)
    start, end = ((fixed[1] + fixed[2]).replace(" ", ""), (fixed[3] + fixed[4]).replace(" ", ""))
    number = f"{start}-{end}" if start and end else start or end
    return " ".join([number, *fixed[5].split()]).strip() or None


def _four(parts: Sequence[str | None]) -> list[str] | None:
    """Return at most four lines, the first ones joined where there are more; None where there is nothing."""
    lines = [part for part in parts if part]
    surplus = max(0, len(lines) - 4)
    return [", ".join(lines[: surplus + 1]), *lines[surplus + 1 :]] if lines else None
