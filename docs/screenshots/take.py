"""Take the documentation's screenshots from a running panel: each page at two widths, light and dark.

.venv/bin/python docs/screenshots/take.py http://127.0.0.1:8080 PASSWORD [NAME=/path/ ...]

Of a panel that manages servers over SSH (a lab, say): register-server=/servers/register/; host-key=/servers/NAME/host-key/ and
server-to-confirm=/servers/NAME/ before the key is pinned; server-over-ssh=/servers/NAME/ after its check; job-over-ssh=/jobs/NUMBER/.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

HERE = Path(__file__).parent
PAGES = {
    "fleet": "/admin/",
    "cluster": "/clusters/demo/",
    "add-standby": "/clusters/demo/add-standby/",
    "job": "/jobs/3/",
    "board": "/clusters/demo/board/",
    "charts": "/clusters/demo/charts/?range=24h",
    "durations": "/jobs/durations/?kind=verify",
    "switchover": "/jobs/4/",  # after a switchover and a failover that somebody has asked for
    "failover": "/jobs/7/",
    "server": "/servers/local/",
    "alerts": "/alerts/",
    "alert-rules": "/alerts/rules/",
    "alert-channels": "/alerts/channels/",
    "audit": "/admin/tasks/auditentry/",
}
SIZES = {1440: 900, 390: 844}
ARGUMENTS = ["--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]


def main(address: str, password: str, *pages: str) -> None:
    chosen = dict(page.split("=", 1) for page in pages) or PAGES
    with sync_playwright() as playwright:
        root = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=[*ARGUMENTS, *root])
        for theme in ("light", "dark"):
            for width in SIZES:
                page = signed_in(browser, address, password, theme, width)
                for name, path in chosen.items():
                    take(page, address + path, HERE / f"{name}-{theme}-{width}.png")
        browser.close()


def signed_in(browser: Browser, address: str, password: str, theme: str, width: int) -> Page:
    context = browser.new_context(viewport={"width": width, "height": SIZES[width]}, color_scheme=theme, locale="en-US")  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(f"{address}/admin/login/")
    page.evaluate("theme => localStorage.setItem('adminTheme', JSON.stringify(theme))", theme)
    page.fill("[name=username]", "admin")
    page.fill("[name=password]", password)
    page.click("button[type=submit]")
    page.wait_for_load_state()
    return page


def take(page: Page, address: str, file: Path) -> None:
    page.goto(address)
    page.wait_for_timeout(1000)
    page.add_style_tag(content="* { content-visibility: visible !important }")  # also what is not in sight is painted
    page.wait_for_timeout(500)
    page.screenshot(path=file, full_page=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
