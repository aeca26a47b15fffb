"""Webhook bodies in the shapes GitHub, Stripe and Slack send, written by hand around made-up people."""

from __future__ import annotations

import random
from typing import Any

from hookreel.demo.people import FakePerson

_REPOSITORIES = ("billing-service", "storefront", "data-pipeline", "mobile-app")
_SUBJECTS = (
    "Retry the export when the bucket is busy",
    "Show prices with tax in the checkout",
    "Cache the tenant lookup",
    "Correct the rounding of partial refunds",
    "Explain the 401 in the webhook log",
)
_CURRENCIES = ("usd", "eur", "gbp")


def github_body(event: str, tenant: str, person: FakePerson, chance: random.Random) -> dict[str, Any]:
    """A GitHub event of that name (push, pull_request, issues, deployment) sent for ``person``."""
    repository = chance.choice(_REPOSITORIES)
    common = {
        "repository": _repository(repository, tenant, chance),
        "sender": _github_user(person),
    }
    return {**_GITHUB_EVENTS[event](repository, tenant, person, chance), **common}


def stripe_body(
    event: str, event_id: str, created_s: int, person: FakePerson, chance: random.Random
) -> dict[str, Any]:
    """A Stripe event of that type (charge.succeeded, customer.updated, invoice.paid)."""
    charged = event != "customer.updated"
    return {
        "id": event_id,
        "object": "event",
        "api_version": "2025-03-31.basil",
        "created": created_s,
        "type": event,
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": f"req_{_letters(chance, 14)}", "idempotency_key": None},
        "data": {"object": _stripe_charge(person, chance) if charged else _stripe_customer(person, chance)},
    }


def slack_body(
    event: str, event_id: str, created_s: int, person: FakePerson, chance: random.Random
) -> dict[str, Any]:
    """A Slack event callback of that type (message, app_mention, team_join)."""
    user_id = f"U{person.number:08d}X"
    if event == "team_join":
        inner: dict[str, Any] = {"type": "team_join", "user": _slack_user(user_id, person)}
    else:
        inner = {
            "type": event,
            "user": user_id,
            "text": f"{chance.choice(_SUBJECTS)}? You can reach me at {person.email} or {person.phone}.",
            "channel": f"C{chance.randrange(10**8):08d}Q",
            "ts": f"{created_s}.{chance.randrange(10**6):06d}",
        }
    return {
        "team_id": "T00412Q7",
        "api_app_id": "A0178ZK3",
        "event": inner,
        "type": "event_callback",
        "event_id": event_id,
        "event_time": created_s,
        "authorizations": [{"team_id": "T00412Q7", "user_id": "U00000099B", "is_bot": True}],
    }


def _github_user(person: FakePerson) -> dict[str, Any]:
    home = f"https://github.com/{person.login}"
    return {
        "login": person.login,
        "id": 7_000_000 + person.number,
        "avatar_url": f"https://avatars.githubusercontent.com/u/{7_000_000 + person.number}?v=4",
        "url": f"https://api.github.com/users/{person.login}",
        "html_url": home,
        "repos_url": f"https://api.github.com/users/{person.login}/repos",
        "type": "User",
        "site_admin": False,
        "email": person.email,
    }


def _repository(name: str, tenant: str, chance: random.Random) -> dict[str, Any]:
    return {
        "id": 500_000 + _REPOSITORIES.index(name),
        "name": name,
        "full_name": f"{tenant}/{name}",
        "private": True,
        "html_url": f"https://github.com/{tenant}/{name}",
        "clone_url": f"https://github.com/{tenant}/{name}.git",
        "default_branch": "main",
        "open_issues_count": chance.randrange(60),
        "language": "TypeScript",
        "topics": ["workflow", "webhooks"],
    }


def _push(repository: str, tenant: str, person: FakePerson, chance: random.Random) -> dict[str, Any]:
    author = {"name": person.full_name, "email": person.email, "username": person.login}
    commits = []
    for _ in range(chance.randrange(1, 5)):
        sha = f"{chance.getrandbits(160):040x}"
        sign_off = f"Signed-off-by: {person.full_name} <{person.email}>"
        commits.append(
            {
                "id": sha,
                "distinct": True,
                "message": f"{chance.choice(_SUBJECTS)}\n\n{sign_off}",
                "url": f"https://github.com/{tenant}/{repository}/commit/{sha}",
                "author": author,
                "committer": author,
                "added": [],
                "removed": [],
                "modified": [f"src/module_{chance.randrange(40)}.ts" for _ in range(chance.randrange(1, 9))],
            }
        )
    return {
        "ref": "refs/heads/main",
        "before": f"{chance.getrandbits(160):040x}",
        "after": commits[-1]["id"],
        "forced": False,
        "pusher": {"name": person.login, "email": person.email},
        "commits": commits,
        "head_commit": commits[-1],
    }


def _pull_request(repository: str, tenant: str, person: FakePerson, chance: random.Random) -> dict[str, Any]:
    number = chance.randrange(100, 999)
    home = f"https://github.com/{tenant}/{repository}/pull/{number}"
    return {
        "action": chance.choice(["opened", "synchronize", "closed"]),
        "number": number,
        "pull_request": {
            "number": number,
            "state": "open",
            "title": chance.choice(_SUBJECTS),
            "body": f"Reported by {person.full_name} ({person.email}).",
            "html_url": home,
            "user": _github_user(person),
            "head": {"ref": "topic", "sha": f"{chance.getrandbits(160):040x}"},
            "base": {"ref": "main", "sha": f"{chance.getrandbits(160):040x}"},
            "additions": chance.randrange(400),
            "deletions": chance.randrange(200),
            "labels": [{"name": "bug", "color": "d73a4a"}, {"name": "backend", "color": "0e8a16"}],
        },
    }


def _issues(repository: str, tenant: str, person: FakePerson, chance: random.Random) -> dict[str, Any]:
    number = chance.randrange(100, 999)
    return {
        "action": "opened",
        "issue": {
            "number": number,
            "state": "open",
            "title": chance.choice(_SUBJECTS),
            "body": f"Customer on {person.phone}, address {person.ip}. Please answer {person.email}.",
            "html_url": f"https://github.com/{tenant}/{repository}/issues/{number}",
            "user": _github_user(person),
            "comments": 0,
        },
    }


def _deployment(repository: str, tenant: str, person: FakePerson, chance: random.Random) -> dict[str, Any]:
    return {
        "action": "created",
        "deployment": {
            "id": chance.randrange(10**7, 10**8),
            "sha": f"{chance.getrandbits(160):040x}",
            "ref": "main",
            "task": "deploy",
            "environment": "production",
            "description": f"Roll out {repository} for {tenant}",
            "creator": _github_user(person),
        },
    }


_GITHUB_EVENTS = {"push": _push, "pull_request": _pull_request, "issues": _issues, "deployment": _deployment}


def _stripe_charge(person: FakePerson, chance: random.Random) -> dict[str, Any]:
    return {
        "id": f"ch_{_letters(chance, 24)}",
        "object": "charge",
        "amount": chance.randrange(500, 90_000),
        "currency": chance.choice(_CURRENCIES),
        "customer": f"cus_{person.number:014d}",
        "paid": True,
        "status": "succeeded",
        "billing_details": {
            "name": person.full_name,
            "email": person.email,
            "phone": person.phone,
            "address": {"city": None, "country": "GB", "line1": None, "postal_code": None},
        },
        "receipt_email": person.email,
        "metadata": {"card_number": person.card, "customer_ip": person.ip},
        "payment_method_details": {
            "type": "card",
            "card": {"brand": "visa", "last4": person.card[-4:], "exp_month": 12, "exp_year": 2031},
        },
    }


def _stripe_customer(person: FakePerson, chance: random.Random) -> dict[str, Any]:
    return {
        "id": f"cus_{person.number:014d}",
        "object": "customer",
        "name": person.full_name,
        "email": person.email,
        "phone": person.phone,
        "balance": chance.randrange(-2000, 2000),
        "currency": chance.choice(_CURRENCIES),
        "delinquent": False,
        "preferred_locales": ["en"],
        "metadata": {"signup_ip": person.ip},
    }


def _slack_user(user_id: str, person: FakePerson) -> dict[str, Any]:
    return {
        "id": user_id,
        "team_id": "T00412Q7",
        "name": person.login,
        "deleted": False,
        "tz": "Europe/Berlin",
        "profile": {
            "first_name": person.first_name,
            "last_name": person.last_name,
            "real_name": person.full_name,
            "display_name": person.login,
            "email": person.email,
            "phone": person.phone,
            "status_text": "",
        },
        "is_bot": False,
    }


def _letters(chance: random.Random, count: int) -> str:
    return "".join(chance.choices("abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789", k=count))
