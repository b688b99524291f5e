"""Send one alert to one target. Every failure is a `NotDelivered`, whose message has no secret."""

import hashlib
import hmac
import os
import smtplib
import socket
import ssl
import time
from email.message import EmailMessage
from typing import Any

import msgspec
import urllib3
from msgspec import Struct
from urllib3.connection import HTTPConnection, HTTPSConnection

from runbase import __version__
from runbase.errors import RunbaseError, UsageError
from runbase.server.alerts import targets
from runbase.settings import load
from runbase.storage.alert_protocol import Alert

TIMEOUT = 10.0
"""Seconds that a target has to answer."""
MARKS = {"info": "ℹ️", "warning": "⚠️", "error": "🛑"}  # noqa: RUF001


class NotDelivered(RunbaseError):
    """A target could not be reached, or refused an alert."""


class Mail(Struct, frozen=True, kw_only=True):
    """How e-mail is sent.

    Attributes:
        host: the SMTP server; empty: no e-mail is sent.
        sender: the address that mail is from.
        security: starttls, tls (from the first byte) or none.
    """

    host: str = ""
    port: int = 587
    user: str = ""
    password: str = ""
    sender: str = ""
    security: str = "starttls"


class Sender(Struct, frozen=True, kw_only=True):
    """How alerts are sent.

    Attributes:
        url: the address of the server for people, for links; empty: no links.
        mail: how e-mail is sent.
        private: whether addresses of this machine and its link are allowed.
        timeout: seconds that a target has to answer.
    """

    url: str = ""
    mail: Mail = Mail()
    private: bool = True
    timeout: float = TIMEOUT

    def send(self, target: str, alert: Alert, delivery: str, secret: str) -> str:
        """Send an alert and return what the target answered.

        Args:
            target: the target.
            alert: the alert.
            delivery: the id of the delivery.
            secret: the key of the signature.

        Raises:
            NotDelivered: the target could not be reached, or refused it.
        """
        kind, place = targets.split(target)
        try:
            targets.check(target, private=self.private)
        except UsageError as error:
            raise NotDelivered(str(error)) from error
        match kind:
            case "webhook":
                return self._webhook(place, alert, delivery, secret)
            case "slack":
                return self._post(place, msgspec.json.encode({"text": self._slack(alert)}), {})
            case "mailto":
                return self._mail(place, alert, delivery)
            case _:
                return "`runbase top` shows it"

    def link(self, alert: Alert) -> str | None:
        """Return the address of the run of an alert; None if the server has no public address."""
        return f"{self.url.rstrip('/')}/run/{alert.run_id}" if self.url else None

    def _webhook(self, url: str, alert: Alert, delivery: str, secret: str) -> str:
        document = {
            "id": alert.id,
            "time": alert.time.isoformat(),
            "level": alert.level,
            "title": alert.title,
            "text": alert.text,
            "rule": alert.rule,
            "run": {"id": alert.run_id, "name": alert.run, "experiment": alert.experiment},
            "url": self.link(alert),
        }
        body = msgspec.json.encode(document)
        headers = {
            "Runbase-Signature": signature(secret, body, int(time.time())),
            "Runbase-Delivery": delivery,
        }
        return self._post(url, body, headers)

    def _slack(self, alert: Alert) -> str:
        place = _escaped(f"{alert.run} ({alert.experiment})")
        link = self.link(alert)
        place = f"<{link}|{place}>" if link else place
        text = f"\n{_escaped(alert.text)}" if alert.text else ""
        return f"{MARKS[alert.level]} *{_escaped(alert.title)}*: {place}{text}"

    def _post(self, url: str, body: bytes, headers: dict[str, str]) -> str:
        sent = {
            "Content-Type": "application/json",
            "User-Agent": f"runbase/{__version__}",
            **headers,
        }
        host = targets.redacted(f"webhook:{url}").removeprefix("webhook:")
        pool = urllib3.PoolManager(num_pools=1, retries=False)
        if not self.private:
            classes: Any = {"http": _Pool, "https": _TlsPool}
            pool.pool_classes_by_scheme = classes
        try:
            answer = pool.request(
                "POST",
                url,
                body=body,
                headers=sent,
                redirect=False,
                timeout=urllib3.Timeout(total=self.timeout),
                preload_content=False,  # the answer may be endless
            )
            answer.close()
        except NotDelivered:
            raise
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise NotDelivered(f"{host}: {_reason(error)}") from error
        finally:
            pool.clear()
        if not 200 <= answer.status < 300:
            raise NotDelivered(f"{host} answered {answer.status}")
        return f"{host} answered {answer.status}"

    def _mail(self, address: str, alert: Alert, delivery: str) -> str:
        mail = self.mail
        if not mail.host:
            raise NotDelivered("no SMTP server is set: RUNBASE_SMTP_HOST, or smtp_host")
        message = EmailMessage()
        message["Subject"] = _one_line(f"[{alert.level}] {alert.title}: {alert.run}")
        message["From"] = mail.sender or f"runbase@{socket.getfqdn()}"
        message["To"] = address
        message["Message-ID"] = f"<{delivery}@runbase>"  # the same in each attempt
        message["Date"] = alert.time
        lines = [
            alert.text,
            f"run: {alert.run} ({alert.run_id})",
            f"experiment: {alert.experiment}",
            f"time: {alert.time:%Y-%m-%d %H:%M:%S} UTC",
            self.link(alert) or "",
        ]
        message.set_content("\n".join(line for line in lines if line) + "\n")
        try:
            with self._smtp() as server:
                server.send_message(message)
        except (smtplib.SMTPException, OSError, ValueError) as error:
            raise NotDelivered(f"{mail.host}: {_reason(error)}") from error
        return f"{mail.host} accepted it for {address}"

    def _smtp(self) -> smtplib.SMTP:
        mail, context = self.mail, ssl.create_default_context()
        if mail.security == "tls":
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                mail.host, mail.port, timeout=self.timeout, context=context
            )
        else:
            server = smtplib.SMTP(mail.host, mail.port, timeout=self.timeout)
        try:
            if mail.security == "starttls":
                server.starttls(context=context)
            if mail.user:
                server.login(mail.user, mail.password)
        except BaseException:
            server.close()
            raise
        return server


class _Checked(HTTPConnection):
    """A connection that is closed, before anything is sent, if it leads to an address that is not allowed."""

    def _new_conn(self) -> socket.socket:
        return _checked(super()._new_conn())


class _CheckedTls(HTTPSConnection):
    """The same with TLS."""

    def _new_conn(self) -> socket.socket:
        return _checked(super()._new_conn())


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls: Any = _Checked


class _TlsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls: Any = _CheckedTls


def _checked(connection: socket.socket) -> socket.socket:
    """Return a connection whose other end is allowed; the name was looked up just now, so that no later answer counts."""
    address: Any = connection.getpeername()
    if targets.is_allowed(str(address[0])):
        return connection
    connection.close()
    raise NotDelivered(
        "the name of the target is one of the server itself; --alert-private-targets allows it"
    )


def signature(secret: str, body: bytes, at: int) -> str:
    """Return the header that proves who sent a body: `t=SECONDS,v1=HMAC`.

    Args:
        secret: the secret of the rule.
        body: the body as it is sent.
        at: when it is sent, in seconds since the epoch.
    """
    signed = f"{at}.".encode() + body
    return f"t={at},v1={hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()}"


def sender(*, url: str = "", private: bool = True) -> Sender:
    """Return how alerts are sent, by the settings; `url` replaces the setting `public_url`."""
    settings = load()
    security = (settings.text("smtp_security") or "starttls").lower()
    if security not in ("starttls", "tls", "none"):
        raise UsageError(f"smtp_security is {security!r}; use starttls, tls or none")
    mail = Mail(
        host=settings.text("smtp_host") or "",
        port=int(settings.number("smtp_port")),
        user=settings.text("smtp_user") or "",
        password=os.environ.get("RUNBASE_SMTP_PASSWORD", ""),
        sender=settings.text("smtp_from") or "",
        security=security,
    )
    return Sender(url=url or settings.text("public_url") or "", mail=mail, private=private)


def _reason(error: BaseException) -> str:
    """Return why a request failed, without the URL, which may have secrets."""
    inner = getattr(error, "reason", None) or error.__cause__
    if isinstance(inner, OSError) and inner.strerror:
        return inner.strerror
    if isinstance(error, smtplib.SMTPResponseException):
        text = error.smtp_error
        return f"{error.smtp_code} {text.decode(errors='replace') if isinstance(text, bytes) else text}"
    if isinstance(error, urllib3.exceptions.TimeoutError | TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(inner if isinstance(inner, BaseException) else error).__name__


def _escaped(text: str) -> str:
    """Return text as Slack's format writes it."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _one_line(text: str) -> str:
    return " ".join(text.split())
