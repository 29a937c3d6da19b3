"""A list to look at, whose rows open the page that was made for them."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin


class ReadOnlyAdmin(ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """Nothing can be added, changed or deleted, whatever the user's permissions."""

    actions = None
    list_per_page = 50
    show_full_result_count = False  # it counts the whole table once more
    list_fullwidth = True

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class PageAdmin(ReadOnlyAdmin):
    """A row's change form is its own page, at `address`."""

    list_display_links = None

    def address(self, row: Any) -> str:
        raise NotImplementedError

    def change_view(self, request: HttpRequest, object_id: str, *args: Any, **kwargs: Any) -> HttpResponse:
        row = self.get_object(request, object_id)
        if row is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[no-any-return]
        if not self.has_view_permission(request, row):
            raise PermissionDenied
        return HttpResponseRedirect(self.address(row))


def link(address: str, words: Any) -> SafeString:
    return format_html('<a class="pg-link" href="{}">{}</a>', address, words)
