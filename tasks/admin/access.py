"""Users, groups, API tokens and failed sign-ins."""

from __future__ import annotations

from typing import Any

from axes.models import AccessAttempt, AccessFailureLog, AccessLog
from django import forms
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.decorators import method_decorator
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from tasks.actor import actor_of
from tasks.admin.readonly import ReadOnlyAdmin
from tasks.models import ApiToken
from tasks.templatetags.panel import age
from tasks.tokens import MAX_DAYS, token_create, token_revoke
from tasks.views.frame import render

admin.site.unregister([User, Group, AccessAttempt, AccessLog, AccessFailureLog])

_WHO = (None, {"fields": ("username", "password")})
_PERSON = (_("Person"), {"fields": ("first_name", "last_name", "email")})
_RIGHTS = (
    _("Rights"),
    {
        "fields": ("is_active", "is_staff", "groups"),
        "description": _("Groups: viewer looks, operator also requests jobs, administrator also manages servers, users and tokens."),
    },
)
_SUPER = (_("Rights beyond the groups"), {"fields": ("is_superuser", "user_permissions"), "classes": ("collapse",)})
_DATES = (_("Dates"), {"fields": ("last_login", "date_joined")})


@admin.register(User)
class UserAdmin(DjangoUserAdmin, ModelAdmin):  # type: ignore[misc,type-arg]  # unfold has no types
    """Only a superuser makes superusers, gives single permissions, or touches another superuser's account."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    actions = None
    list_display = ("username", "person", "groups_shown", "is_active", "signed_in")
    list_filter = ("is_active", "groups")
    filter_horizontal = ("user_permissions",)
    add_fieldsets = ((None, {"fields": ("username", "password1", "password2", "groups")}),)
    readonly_fields = ("last_login", "date_joined")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return self.add_fieldsets
        return (_WHO, _PERSON, _RIGHTS, *((_SUPER,) if request.user.is_superuser else ()), _DATES)

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        return super().get_queryset(request).prefetch_related("groups")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_change_permission(request, obj) and self._may_touch(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_delete_permission(request, obj) and self._may_touch(request, obj)

    def _may_touch(self, request: HttpRequest, obj: Any) -> bool:
        return obj is None or not obj.is_superuser or bool(request.user.is_superuser)

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        if not change:
            obj.is_staff = True  # whoever is made here may sign in
        super().save_model(request, obj, form, change)

    @admin.display(description=_("name"))
    def person(self, row: User) -> str:
        return row.get_full_name() or "–"

    @admin.display(description=_("groups"))
    def groups_shown(self, row: User) -> str:
        names = [group.name for group in row.groups.all()]
        return ", ".join([gettext("superuser"), *names] if row.is_superuser else names) or "–"

    @admin.display(description=_("last sign-in"), ordering="last_login")
    def signed_in(self, row: User) -> SafeString:
        return age(row.last_login, stale=False)


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, ModelAdmin):  # type: ignore[misc]  # unfold has no types
    actions = None


class TokenForm(forms.Form):
    """What a new token is for."""

    user = forms.ModelChoiceField(User.objects.none(), label=_("User"), widget=UnfoldAdminSelectWidget)
    name = forms.CharField(
        label=_("Name"),
        max_length=60,
        help_text=_("What uses it, so that you know which one to revoke."),
        widget=UnfoldAdminTextInputWidget,
    )
    scope = forms.ChoiceField(label=_("Scope"), choices=ApiToken.Scope.choices, widget=UnfoldAdminSelectWidget)
    days = forms.IntegerField(label=_("Days it lasts"), min_value=1, max_value=MAX_DAYS, initial=90, widget=UnfoldAdminIntegerFieldWidget)

    def __init__(self, user: User, *args: Any, **kwargs: Any) -> None:
        """A token does what its user can, so only a superuser makes one for somebody else."""
        super().__init__(*args, **kwargs)
        users = User.objects.filter(is_active=True) if user.is_superuser else User.objects.filter(pk=user.pk)
        self.fields["user"].queryset = users  # type: ignore[attr-defined]
        self.fields["user"].initial = user


@admin.register(ApiToken)
class ApiTokenAdmin(ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """A token is shown on the page that answers its making, and never again."""

    list_display = ("name", "user", "prefix", "scope", "expires_at", "last_used")
    list_filter = ("scope",)
    search_fields = ("name", "user__username")
    list_select_related = ("user",)
    fields = ("name", "user", "prefix", "scope", "expires_at", "last_used_at", "created_at")
    readonly_fields = fields
    actions = None

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.display(description=_("last used"), ordering="last_used_at")
    def last_used(self, row: ApiToken) -> SafeString:
        return age(row.last_used_at, stale=False)

    @method_decorator(never_cache)
    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = TokenForm(self._user(request), request.POST if request.method == "POST" else None)
        token, text = self._made(request, form) if form.is_valid() else (None, None)
        crumbs = [(_("API tokens"), "../")]
        return render(request, "tasks/token.html", title=_("New API token"), crumbs=crumbs, form=form, token=token, text=text)

    def _made(self, request: HttpRequest, form: TokenForm) -> tuple[ApiToken | None, str | None]:
        try:
            token, text = token_create(actor=actor_of(self._user(request), "web"), **form.cleaned_data)
        except ValidationError as error:
            form.add_error(None, error)
            return None, None
        return token, text.reveal()

    def delete_model(self, request: HttpRequest, obj: ApiToken) -> None:
        token_revoke(actor=actor_of(self._user(request), "web"), token=obj)

    def _user(self, request: HttpRequest) -> User:
        assert isinstance(request.user, User)
        return request.user


@admin.register(AccessAttempt)
class AccessAttemptAdmin(ReadOnlyAdmin):
    """Deleting an attempt unlocks its user and address."""

    list_display = ("attempt_time", "username", "ip_address", "failures_since_start", "user_agent")
    search_fields = ("username", "ip_address")
    fields = ("attempt_time", "username", "ip_address", "failures_since_start", "user_agent", "path_info")
    readonly_fields = fields

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.has_perm("axes.delete_accessattempt"))
