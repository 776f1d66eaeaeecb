"""The Common Transfer File reader: what a file says arrives, what is left out is named, and no file can do harm."""

from __future__ import annotations

import re
from collections.abc import Collection
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adapters.s2s.ctf import (
    MAX_DEPTH,
    MAX_FILE,
    NO_PLACE,
    NOT_GRANTED,
    RELATIONSHIPS,
    CtfError,
    Establishment,
    Pupil,
    read_transfer_file,
)
from contracts.register import vocabulary

IDENTITY = "<UPN>G207299919016</UPN><Surname>Testname</Surname><Forename>Ada</Forename><DOB>2014-02-03</DOB>"


def make_ctf(pupil: str = "", identity: str = IDENTITY, source: str = "2001", namespace: str = "") -> bytes:
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><CTfile{namespace}><Header>'
        "<DocumentName>Common Transfer File</DocumentName><CTFversion>25.0</CTFversion>"
        "<DocumentQualifier>full</DocumentQualifier>"
        f"<SourceSchool><LEA>850</LEA><Estab>{source}</Estab><URN>999001</URN>"
        "<SchoolName>Example School</SchoolName></SourceSchool>"
        "<DestSchool><LEA>919</LEA><Estab>LLLL</Estab></DestSchool></Header>"
        f"<CTFpupilData><Pupil>{identity}{pupil}</Pupil></CTFpupilData></CTfile>"
    ).encode()


def read(pupil: str = "", *, only: Collection[str] | None = None, **parts: str) -> Pupil:
    (found,) = read_transfer_file(make_ctf(pupil, **parts), only=only).pupils
    return found


def contact(inside: str) -> dict[str, Any]:
    item: dict[str, Any] = read(f"<Contacts><Contact>{inside}</Contact></Contacts>").body["contacts"][0]
    return item


def rules(pupil: Pupil) -> dict[str, str]:
    return {left.element: left.rule for left in pupil.left_out}


def refusal(data: bytes) -> CtfError:
    with pytest.raises(CtfError) as caught:
        read_transfer_file(data, only=None)
    return caught.value


# --- the whole file


def test_header_names_both_ends() -> None:
    file = read_transfer_file(make_ctf(), only=None)
    assert (file.version, file.qualifier) == ("25.0", "full")
    assert file.source == Establishment(authority="850", number="2001")
    assert file.destination == Establishment(authority="919", number="LLLL")


def test_the_demonstrations_child_is_read_whole_and_every_value_is_valid() -> None:
    file = read_transfer_file(files("gateway.demo").joinpath("child.xml").read_bytes(), only=None)
    (pupil,) = file.pupils
    assert (file.source.authority, file.destination.authority) == ("207", "850")
    assert pupil.body["child"]["upn"] == "U207299920016"
    assert [item["relationship"] for item in pupil.body["contacts"]] == ["mother", "father"]
    assert set(rules(pupil).values()) == {NO_PLACE}


def test_every_pupil_of_a_file_becomes_a_body_of_its_own() -> None:
    two = make_ctf().replace(b"</Pupil>", f"</Pupil><Pupil>{IDENTITY.replace('Ada', 'Bo')}</Pupil>".encode())
    names = [p.body["child"]["name"]["given"] for p in read_transfer_file(two, only=None).pupils]
    assert names == ["Ada", "Bo"]


def test_namespace_of_the_older_schema_is_tolerated() -> None:
    assert read(namespace=' xmlns="http://www.dcsf.gov.uk/schemas/cbds"') == read()


@pytest.mark.parametrize("missing", ["Surname", "Forename", "DOB"])
@pytest.mark.parametrize("instead", ["", "<{0}> </{0}>"])
def test_pupil_without_name_or_date_of_birth_is_refused(missing: str, instead: str) -> None:
    identity = re.sub(f"<{missing}>.*</{missing}>", instead.format(missing), IDENTITY)
    assert refusal(make_ctf(identity=identity)).place == f"Pupil/{missing}"


def test_two_surnames_are_refused_rather_than_chosen_between() -> None:
    assert refusal(make_ctf("<Surname>Another</Surname>")).place == "Pupil/Surname"


@pytest.mark.parametrize(
    ("data", "place"),
    [
        (make_ctf().replace(b"CTfile", b"Other"), "CTfile"),
        (make_ctf().replace(b"Header", b"Heading"), "CTfile/Header"),
        (make_ctf().replace(b"DestSchool", b"Elsewhere"), "CTfile/Header/DestSchool"),
        (make_ctf().replace(b"<LEA>850", b"<LEA>Ada"), "CTfile/Header/SourceSchool"),
        (make_ctf(source="Ada"), "CTfile/Header/SourceSchool"),
        (re.sub(rb"<Pupil>.*</Pupil>", b"", make_ctf()), "CTfile/CTFpupilData"),
    ],
)
def test_file_that_does_not_say_who_or_whence_is_refused_by_place(data: bytes, place: str) -> None:
    assert refusal(data).place == place


# --- the child


@pytest.mark.parametrize("element", ["Sex", "Gender"])
def test_sex_is_read_under_its_new_and_its_old_name(element: str) -> None:
    assert read(f"<{element}>F</{element}>").body["child"]["sex"] == "F"


def test_basic_details_go_to_their_paths() -> None:
    child = read(
        "<UniqueLearnerNumber>9276308686</UniqueLearnerNumber><BasicDetails><FormerUPN>D850299917003</FormerUPN>"
        "<PreferredSurname>Known</PreferredSurname><PreferredForename>Addie</PreferredForename>"
        "<FormerSurname>Before</FormerSurname><MiddleNames>Bea  Cleo</MiddleNames><NCyearActual>N2</NCyearActual>"
        "<Ethnicity>WBRI</Ethnicity><Languages><Type><LanguageType>F</LanguageType><Language>ENG</Language></Type>"
        "<Type><LanguageType>H</LanguageType><Language>POL</Language></Type></Languages></BasicDetails>"
    ).body["child"]
    assert child["uln"] == "9276308686"
    assert child["former_upn"] == "D850299917003"
    assert child["name"] == {
        "family": "Testname",
        "given": "Ada",
        "middle": "Bea Cleo",
        "preferred_family": "Known",
        "preferred_given": "Addie",
        "former_family": "Before",
    }
    assert (child["year_group"], child["ethnicity"], child["first_language"]) == ("N2", "WBRI", "ENG")


@pytest.mark.parametrize("upn", ["A207299919016", "Q207000016049", "ada"])
def test_upn_with_a_wrong_check_letter_is_left_out_and_named_and_the_child_is_not_lost(upn: str) -> None:
    pupil = read(identity=IDENTITY.replace("G207299919016", upn))
    assert "upn" not in pupil.body["child"]
    assert pupil.body["child"]["name"]["family"] == "Testname"
    assert rules(pupil) == {"Pupil/UPN": "not a valid upn"}
    assert upn not in repr(pupil)


@pytest.mark.parametrize(("flag", "carried"), [("true", True), ("false", False)])
def test_medical_flag_says_only_that_something_is_known(flag: str, carried: bool) -> None:
    pupil = read(f"<BasicDetails><MedicalFlag>{flag}</MedicalFlag></BasicDetails>")
    assert ("health" in pupil.body) == carried
    assert ("Pupil/BasicDetails/MedicalFlag" in rules(pupil)) != carried


@pytest.mark.parametrize(
    ("periods", "eligible"),
    [
        ("<FSMinstance><FSMstartDate>2023-09-04</FSMstartDate></FSMinstance>", True),
        (
            "<FSMinstance><FSMstartDate>2023-09-04</FSMstartDate><FSMendDate>2024-01-01</FSMendDate></FSMinstance>",
            False,
        ),
    ],
)
def test_free_school_meals_count_while_no_end_is_written(periods: str, eligible: bool) -> None:
    assert read(f"<FSMhistory>{periods}</FSMhistory>").body["child"]["fsm_eligible"] is eligible


def test_looked_after_child_has_its_authority() -> None:
    body = read("<LookedAfter><InCare>true</InCare><CareAuthority>213</CareAuthority></LookedAfter>").body
    assert (body["child"]["looked_after"], body["care"]) == (True, {"authority": "213"})


def test_special_needs_are_the_current_provision_and_the_needs_by_rank() -> None:
    body = read(
        "<SENhistory><SEN><StartDate>2020-01-06</StartDate><SENprovision>E</SENprovision><EndDate>2021-01-04</EndDate></SEN>"
        "<SEN><StartDate>2021-01-04</StartDate><SENprovision>K</SENprovision></SEN>"
        "<SENneeds><SENneed><SENtypeRank>2</SENtypeRank><SENtype>SPLD</SENtype></SENneed>"
        "<SENneed><SENtypeRank>1</SENtypeRank><SENtype>SLCN</SENtype></SENneed></SENneeds></SENhistory>"
    ).body
    assert body["send"] == {"provision": "K", "needs": ["SLCN", "SPLD"]}


def test_older_provision_code_is_named_and_not_guessed() -> None:
    pupil = read("<SENhistory><SEN><SENprovision>S</SENprovision></SEN></SENhistory>")
    assert rules(pupil) == {"Pupil/SENhistory/SEN/SENprovision": "not a valid sen provision code"}


def test_attendance_is_that_of_the_latest_year() -> None:
    year = "<YearData><Year>{0}</Year><SessionsPossible>{1}</SessionsPossible></YearData>"
    pupil = read(f"<Attendance>{year.format(2025, 100)}{year.format(2024, 380)}</Attendance>")
    assert pupil.body["attendance"] == {"sessions_possible": 100}
    assert rules(pupil)["Pupil/Attendance/YearData/SessionsPossible"] == NO_PLACE


@pytest.mark.parametrize(
    ("said", "order"), [("Y", True), ("true", True), ("see letter", True), ("N", False), ("", False)]
)
def test_court_order_is_reported_apart_and_never_carried(said: str, order: bool) -> None:
    pupil = read(f"<SuppInfo><CourtOrder>{said}</CourtOrder></SuppInfo>")
    assert pupil.court_order is order
    assert "safeguarding" not in pupil.body
    assert ("Pupil/SuppInfo/CourtOrder" in rules(pupil)) == bool(said)


# --- addresses


@pytest.mark.parametrize(
    ("paon", "lines"),
    [
        ("   1      Example House", ["1 Example House", "High Street"]),
        ("          Rose Cottage", ["Rose Cottage", "High Street"]),
        ("  12A  14 ", ["12A-14 High Street"]),
        ("  14      ", ["14 High Street"]),
        ("14", ["14 High Street"]),
        ("12 Mill House", ["12 Mill House", "High Street"]),
    ],
)
def test_fixed_width_house_numbers_are_written_for_people(paon: str, lines: list[str]) -> None:
    address = read(f"<Address><BS7666Address><PAON>{paon}</PAON><Street>High Street</Street></BS7666Address></Address>")
    assert address.body["child"]["address"]["lines"] == lines


def test_structured_address_goes_to_lines_town_postcode_and_property_number() -> None:
    pupil = read(
        "<Address><BS7666Address><SAON>          Flat 2</SAON><PAON>   9      </PAON><Street>Mill Lane</Street>"
        "<Locality>Nether</Locality><PostTown>Exampleton</PostTown>"
        "<UniquePropertyReferenceNumber>10012345678</UniquePropertyReferenceNumber></BS7666Address>"
        "<PostCode>zz99  3vz</PostCode></Address>"
    )
    assert pupil.body["child"]["address"] == {
        "lines": ["Flat 2", "9 Mill Lane", "Nether"],
        "town": "Exampleton",
        "postcode": "ZZ99 3VZ",
        "uprn": "010012345678",
    }
    assert pupil.left_out == ()


def test_five_plain_lines_become_four_and_lose_nothing() -> None:
    lines = "".join(f"<AddressLine{n}>Line {n}</AddressLine{n}>" for n in range(1, 6))
    address = read(f"<Address><AddressLines>{lines}</AddressLines></Address>").body["child"]["address"]
    assert address["lines"] == ["Line 1, Line 2", "Line 3", "Line 4", "Line 5"]


def test_two_different_towns_are_both_kept() -> None:
    towns = "<Town>Village</Town><PostTown>Exampleton</PostTown>"
    address = read(f"<Address><BS7666Address>{towns}</BS7666Address></Address>").body["child"]["address"]
    assert address == {"lines": ["Village"], "town": "Exampleton"}


# --- contacts


def test_contacts_stand_in_their_order_and_not_in_that_of_the_file() -> None:
    body = read(
        "<Contacts><Contact><Forename>Last</Forename></Contact>"
        "<Contact><Order>10</Order><Forename>Second</Forename></Contact>"
        "<Contact><Order>2</Order><Forename>First</Forename></Contact></Contacts>"
    ).body
    assert [c["name"]["given"] for c in body["contacts"]] == ["First", "Second", "Last"]


def test_relationship_codes_are_translated_by_table() -> None:
    assert contact("<Relationship>PAM</Relationship>")["relationship"] == "mother"
    assert contact("<Relationship>paf</Relationship>")["relationship"] == "father"
    assert vocabulary().codes["relationship"] >= set(RELATIONSHIPS.values())


def test_unknown_relationship_code_is_named_and_the_contact_kept() -> None:
    pupil = read("<Contacts><Contact><Surname>Kin</Surname><Relationship>QQQ</Relationship></Contact></Contacts>")
    assert pupil.body["contacts"] == [{"name": {"family": "Kin"}}]
    assert rules(pupil) == {"Pupil/Contacts/Contact/Relationship": "not a valid relationship code"}


def test_contact_living_with_the_pupil_gets_the_pupils_address() -> None:
    pupil = read(
        "<Address><BS7666Address><PAON>   1      </PAON><Street>Mill Lane</Street><Town>Exampleton</Town></BS7666Address>"
        "<PostCode>ZZ99 3VZ</PostCode></Address>"
        "<Contacts><Contact><Address><AddressAsPupil>true</AddressAsPupil></Address></Contact></Contacts>"
    )
    assert pupil.body["contacts"] == [{"address": {"lines": ["1 Mill Lane", "Exampleton"], "postcode": "ZZ99 3VZ"}}]


def test_contact_elsewhere_keeps_the_own_address() -> None:
    inside = (
        "<Title>Mr</Title><Address><AddressAsPupil>false</AddressAsPupil><AddressLines><AddressLine1>Far</AddressLine1>"
        "</AddressLines></Address>"
    )
    assert contact(inside) == {"title": "Mr", "address": {"lines": ["Far"]}}


@pytest.mark.parametrize(
    ("phones", "number"),
    [
        ([("H", "020 7946 0001"), ("M", "07700900001")], "07700900001"),
        ([("W", "020 7946 0002"), ("H", "(020) 7946-0001")], "020 7946 0001"),
        ([("M", "ask school"), ("F", "020 7946 0003")], "020 7946 0003"),
    ],
)
def test_one_usable_number_is_carried_mobile_first(phones: list[tuple[str, str]], number: str) -> None:
    written = "".join(
        f"<Phone><TelephoneType>{kind}</TelephoneType><PhoneNo>{no}</PhoneNo></Phone>" for kind, no in phones
    )
    pupil = read(f"<Contacts><Contact><Phones>{written}</Phones></Contact></Contacts>")
    assert pupil.body["contacts"] == [{"telephone": number}]
    assert rules(pupil)["Pupil/Contacts/Contact/Phones/Phone/PhoneNo"] == NO_PLACE


# --- schools

SCHOOL = (
    "<School><LEA>850</LEA><Estab>{0}</Estab><URN>99900{1}</URN><SchoolName>School {1}</SchoolName>"
    "<EntryDate>{2}</EntryDate><LeavingDate>{3}</LeavingDate></School>"
)


def history(source: str) -> dict[str, Any]:
    schools = (
        SCHOOL.format("2001", 1, "2021-09-06", "2025-10-31"),
        SCHOOL.format("2002", 2, "2019-09-02", "2021-07-23"),
        SCHOOL.format("2003", 3, "2025-11-03", ""),
    )
    return read(f"<SchoolHistory>{''.join(schools)}</SchoolHistory>", source=source).body


def test_sending_school_is_the_current_one_and_the_others_are_previous() -> None:
    body = history("2001")
    assert body["school"] == {
        "urn": "999001",
        "name": "School 1",
        "start_date": "2021-09-06",
        "last_attended": "2025-10-31",
    }
    assert [s["urn"] for s in body["previous_schools"]] == ["999002", "999003"]
    assert body["previous_schools"][0]["to"] == "2021-07-23"


def test_school_last_entered_is_the_current_one_where_an_authority_sends() -> None:
    assert history("LLLL")["school"] == {"urn": "999003", "name": "School 3", "start_date": "2025-11-03"}


def test_sending_school_is_taken_from_the_header_where_there_is_no_history() -> None:
    assert read().body["school"] == {"urn": "999001", "name": "Example School"}
    assert "school" not in read(source="LLLL").body


def test_grounds_of_removal_are_named_and_not_translated() -> None:
    pupil = read("<SchoolHistory><School><RemovalGrounds>L</RemovalGrounds></School></SchoolHistory>")
    assert "deletion" not in pupil.body
    assert rules(pupil) == {"Pupil/SchoolHistory/School/RemovalGrounds": NO_PLACE}


# --- what is left out


def test_only_granted_paths_are_carried_and_the_others_named() -> None:
    pupil = read(
        "<BasicDetails><Ethnicity>WBRI</Ethnicity></BasicDetails>"
        "<Contacts><Contact><Title>Mr</Title><Email>kin@mail.example</Email></Contact></Contacts>",
        only={"child.name.family", "contacts[].email"},
    )
    assert pupil.body == {"child": {"name": {"family": "Testname"}}, "contacts": [{"email": "kin@mail.example"}]}
    ungranted = ("UPN", "Forename", "DOB", "BasicDetails/Ethnicity", "Contacts/Contact/Title")
    assert rules(pupil) == {
        **{f"CTfile/Header/SourceSchool/{element}": NOT_GRANTED for element in ("URN", "SchoolName")},
        **{f"Pupil/{element}": NOT_GRANTED for element in ungranted},
    }


def test_contact_of_whom_nothing_may_travel_leaves_no_empty_item() -> None:
    pupil = read("<Contacts><Contact><Title>Mr</Title></Contact></Contacts>", only={"child.name.family"})
    assert "contacts" not in pupil.body


def test_made_up_element_name_is_never_repeated() -> None:
    pupil = read("<AdaTestname>hidden</AdaTestname><SuppInfo><Bea>x</Bea></SuppInfo>")
    assert rules(pupil) == {"Pupil/?": NO_PLACE, "Pupil/SuppInfo/?": NO_PLACE}


def test_element_that_stands_twice_is_named_and_none_is_chosen() -> None:
    pupil = read("<BasicDetails><Ethnicity>WBRI</Ethnicity><Ethnicity>BAFR</Ethnicity></BasicDetails>")
    assert "ethnicity" not in pupil.body["child"]
    assert rules(pupil) == {"Pupil/BasicDetails/Ethnicity": NO_PLACE}


def test_text_between_elements_is_named_too() -> None:
    assert rules(read("<BasicDetails>between</BasicDetails>")) == {"Pupil/BasicDetails": NO_PLACE}


_LEAVES = [
    "Email", "UCI", "Sex", "BasicDetails/Ethnicity", "BasicDetails/MiddleNames", "BasicDetails/ServiceChild",
    "LookedAfter/InCare", "Address/PostCode", "Address/County", "Address/BS7666Address/PAON",
    "Address/AddressLines/AddressLine2", "Contacts/Contact/Email", "Contacts/Contact/MiddleNames",
    "Contacts/Contact/Phones/Phone/PhoneNo", "SchoolHistory/School/SchoolName", "SchoolHistory/School/LeavingReason",
    "StageAssessments/KeyStage/StageAssessment/Result", "SENhistory/SENneeds/SENneed/SENtype", "SuppInfo/Religion",
]  # fmt: skip


@given(st.sampled_from(_LEAVES), st.text("abc012 -", min_size=1, max_size=80).filter(str.strip), st.booleans())
def test_nothing_that_a_file_says_is_lost_silently(leaf: str, value: str, granted: bool) -> None:
    names = leaf.split("/")
    xml = "".join(f"<{n}>" for n in names) + value + "".join(f"</{n}>" for n in reversed(names))
    before, after = read(only=None if granted else ()), read(xml, only=None if granted else ())
    assert after.body != before.body or f"Pupil/{leaf}" in rules(after)


def _leaves(value: Any, path: str = "") -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [leaf for name, inner in value.items() for leaf in _leaves(inner, f"{path}.{name}".lstrip("."))]
    if isinstance(value, list) and path not in vocabulary().fields:
        return [leaf for inner in value for leaf in _leaves(inner, path + "[]")]
    return [(path, value)]


@given(st.lists(st.tuples(st.sampled_from(_LEAVES), st.text("abc012 -é\t", max_size=90)), max_size=8))
def test_every_value_of_a_body_is_valid_at_a_path_of_the_vocabulary(leaves: list[tuple[str, str]]) -> None:
    xml = ""
    for leaf, value in leaves:
        names = leaf.split("/")
        xml += "".join(f"<{n}>" for n in names) + value + "".join(f"</{n}>" for n in reversed(names))
    for path, value in _leaves(read(xml).body):
        assert vocabulary().fields[path].type.accepts(value)


# --- malicious files


def test_entities_that_expand_a_billion_times_are_refused_unread() -> None:
    laughs = '<!DOCTYPE CTfile [<!ENTITY a "ha">' + "".join(
        f'<!ENTITY a{n} "{("&a" + str(n - 1 or "") + ";") * 10}">' for n in range(1, 10)
    )
    assert "document type" in refusal(laughs.encode() + b"]>" + make_ctf("&a9;").partition(b"?>")[2]).rule


@pytest.mark.parametrize("system", ["file:///etc/hostname", "http://127.0.0.1:9/"])
def test_external_entity_is_refused_unread(system: str) -> None:
    declared = f'<!DOCTYPE CTfile [<!ENTITY x SYSTEM "{system}">]>'.encode()
    assert "document type" in refusal(declared + make_ctf("<UCI>&x;</UCI>").partition(b"?>")[2]).rule


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
def test_document_type_cannot_hide_in_a_wide_encoding(encoding: str) -> None:
    assert refusal(("<!DOCTYPE x>" + make_ctf().decode()).encode(encoding)).place == "CTfile"


@pytest.mark.parametrize("encoding", ["UTF-7", "EBCDIC-CP-US", "utf-16"])
def test_encoding_that_does_not_write_ascii_as_ascii_is_refused(encoding: str) -> None:
    assert "encoding" in refusal(make_ctf().replace(b"UTF-8", encoding.encode())).rule


def test_windows_files_are_read_in_the_encoding_they_declare() -> None:
    windows = make_ctf(identity=IDENTITY.replace("Ada", "Zoë")).decode().replace("UTF-8", "windows-1252")
    (pupil,) = read_transfer_file(windows.encode("cp1252"), only=None).pupils
    assert pupil.body["child"]["name"]["given"] == "Zoë"


def test_bytes_that_are_not_in_the_declared_encoding_are_refused() -> None:
    assert refusal(make_ctf().replace(b"Ada", b"Zo\xeb")).place == "CTfile"


def test_byte_order_mark_is_tolerated() -> None:
    assert len(read_transfer_file(b"\xef\xbb\xbf" + make_ctf(), only=None).pupils) == 1


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 250, 100_000])
def test_deep_nesting_is_refused(depth: int) -> None:
    assert refusal(make_ctf("<SuppInfo>" * depth + "</SuppInfo>" * depth)).code == "ctf.malformed"


def test_file_above_the_cap_is_refused_before_it_is_parsed() -> None:
    assert "larger" in refusal(b"<" * (MAX_FILE + 1)).rule


def test_more_elements_than_a_school_can_write_are_refused() -> None:
    assert "elements" in refusal(make_ctf("<UCI/>" * 260_000)).rule


def test_undeclared_entity_and_broken_markup_are_refused_by_line() -> None:
    for data in (make_ctf("<UCI>&x;</UCI>"), make_ctf()[:-3], b"", b"Ada Testname"):
        assert refusal(data).place.startswith("line ")


@given(st.integers(0, len(make_ctf()) - 1), st.binary(max_size=3))
@example(at=0, junk=b"\xff")
def test_damaged_file_is_read_or_refused_and_no_refusal_repeats_it(at: int, junk: bytes) -> None:
    data = make_ctf()
    said = ""
    try:
        read_transfer_file(data[:at] + junk + data[at + 1 :], only=None)
    except CtfError as error:
        said = str(error)
    assert "Testname" not in said
    assert "2014" not in said
