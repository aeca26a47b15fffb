"""Words that name platforms, roles and fields, and so nobody in particular."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files

_PLATFORMS = frozenset({"github", "gitlab", "bitbucket", "stripe", "slack", "google", "amazonaws", "shopify"})
_ROBOTS = frozenset({"noreply", "no-reply", "donotreply", "do-not-reply", "mailer-daemon", "git", "bounce"})
# Names that the table of stand-ins lacks and the list of English words has.
_MORE_NAMES = frozenset(
    b"anna anne maria mary jane john james peter paul david daniel michael sarah laura julia lisa emma "
    b"alex ben bill bob chris dan dave don eve frank grace jack jean jim joe joy kate ken lee mark mike max "
    b"pat ray rob rose roy sam steve sue tim tom victor will".split()
)
# Three-letter path segments and file types, which the list of English words lacks.
_TECHNICAL_WORDS = """
bin cdn cli cmd css csv dev dns doc env etc ftp gif git ico img jpg jwt lib log npm ops opt pdf pip pkg
png ref sdk sha sql src sre ssh ssl svg tag tar tcp tls tmp udp uri url usr var www xml zip
"""
_TECHNICAL = frozenset(_TECHNICAL_WORDS.split())
_WORDS = """
github gitlab bitbucket stripe slack google amazon microsoft twilio shopify supabase discord
web-flow ghost dependabot renovate greenkeeper github-actions actions-user
admin admins administrator administrators
root system service user users username usernames me self anonymous guest
nobody noreply no-reply support info team owner member members staff public private test tests
testing tester example default unknown none null true false customer customers client clients
account accounts login logout signup register profile settings dashboard search new edit create
update delete list count export import status health webhook webhooks hook hooks event events
api app apps application bot bots master main develop production staging development local
localhost server worker http https html json text data name email phone address password token
string number object type value key page index home help about contact order orders payment
payments invoice invoices product products company organization organizations repository
repositories project projects issue issues pull commit branch release releases action actions
message messages channel channels group groups workspace tenant tenants host port path query
body header headers request requests response responses session sessions version content
"""
_RESERVED = frozenset(_WORDS.split())


def is_reserved(word: bytes) -> bool:
    """Whether ``word`` names a platform, a role or a field; such a user name is left alone."""
    lower = word.lower().decode("utf-8", "replace")
    return lower in _RESERVED or lower.endswith("[bot]")


def is_robot_address(address: bytes) -> bool:
    """Whether an e-mail address is that of a platform's own robot, like noreply@github.com."""
    local, _, domain = address.lower().decode("utf-8", "replace").rpartition("@")
    name = local.rpartition("+")[2]
    robot = name in _ROBOTS or name.endswith("[bot]")
    return robot and not _PLATFORMS.isdisjoint(domain.split(".")[-2:-1])


def is_platform_domain(name: bytes) -> bool:
    """Whether a domain (without its last label) is a platform's, like users.noreply.github."""
    labels = name.lower().decode("utf-8", "replace").split(".")
    return labels[-1] in _PLATFORMS and all(label in _RESERVED for label in labels)


def is_common(word: bytes) -> bool:
    """Whether ``word`` is an English word, which may mean something else elsewhere."""
    lower = word.lower().decode("utf-8", "replace")
    return lower in _english() or lower in _TECHNICAL or is_reserved(word)


def is_no_name(word: bytes) -> bool:
    """Whether ``word`` is an English word and no usual name of people, as mountain is and anna is not."""
    return is_common(word) and word.lower() not in _name_set()


@cache
def names() -> tuple[bytes, ...]:
    """Usual first and last names in lower case, sorted."""
    data = json.loads((files("mimesis") / "datasets" / "en" / "person.json").read_text("utf-8"))
    words = {*data["surnames"], *data["names"]["female"], *data["names"]["male"]}
    return tuple(sorted(word.lower().encode() for word in words if word.isascii() and word.isalpha()))


@cache
def stand_in_names() -> tuple[bytes, ...]:
    """``names`` without those that are English words, which would read as something else."""
    return tuple(name for name in names() if not is_common(name))


@cache
def _name_set() -> frozenset[bytes]:
    return frozenset(names()) | _MORE_NAMES


@cache
def _english() -> frozenset[str]:
    text = json.loads((files("mimesis") / "datasets" / "en" / "text.json").read_text("utf-8"))
    return frozenset(word.lower() for word in text["words"])
