"""Answers to the questions that a package's configure script asks, for headers made from its templates.

Nothing is run. What a template asks for exists if the pinned headers have it; sizes are those of x86-64 Linux.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import posixpath
import re

from compiler_dojo.envs.programs.sources.headers import Headers
from compiler_dojo.envs.programs.sources.tree import SourceTree

# a file where the name wants a folder, a folder where it wants a file, a name too long, links that lead nowhere
_NO_NAME = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ENOENT, errno.ELOOP)

TEMPLATE = re.compile(
    r"(.*?\.(?:h|hh|hpp|hxx|inc|def))(?:\.in|\.cmake|\.cmake\.in|\.in\.cmake|\.meson|\.meson\.in)$|(.*config)(?:\.hin|_h\.in|-h\.in|\.h-in)$"
)

GENERIC = ".generic"
"""Folder of a tree that holds made-up headers; trees do not list it, as its name begins with a dot."""

SIZES = {
    "char": 1, "unsigned_char": 1, "signed_char": 1, "short": 2, "unsigned_short": 2, "short_int": 2, "int": 4,
    "unsigned_int": 4, "unsigned": 4, "long": 8, "unsigned_long": 8, "long_int": 8, "long_long": 8, "long_long_int": 8,
    "unsigned_long_long": 8, "unsigned_long_int": 8, "__int64": 0, "float": 4, "double": 8, "long_double": 16,
    "size_t": 8,
    "ssize_t": 8, "off_t": 8, "off64_t": 8, "time_t": 8, "wchar_t": 4, "wint_t": 4, "void_p": 8, "voidp": 8,
    "void": 1, "pid_t": 4, "uid_t": 4, "gid_t": 4, "mode_t": 4, "dev_t": 8, "ino_t": 8, "intptr_t": 8, "uintptr_t": 8,
    "ptrdiff_t": 8, "int8_t": 1, "int16_t": 2, "int32_t": 4, "int64_t": 8, "uint8_t": 1, "uint16_t": 2, "uint32_t": 4,
    "uint64_t": 8, "intmax_t": 8, "uintmax_t": 8, "__int128": 16, "pthread_t": 8, "socklen_t": 4, "char_p": 8,
    "bool": 1,
    "_bool": 1, "fpos_t": 16, "key_t": 4, "size": 8, "pthread_key_t": 4, "int_p": 8, "long_p": 8, "clock_t": 8,
}  # fmt: skip
"""Bytes of C types on x86-64 Linux, by the names that autoconf gives them."""

TYPES = frozenset(SIZES) | frozenset(
    "long_long uint_t u_int u_long u_char u_short u_int8_t u_int16_t u_int32_t u_int64_t ulong uint ushort in_addr_t "
    "in_port_t sa_family_t sig_atomic_t sigset_t struct_timeval struct_timespec struct_sockaddr_storage "
    "struct_sockaddr_in6 struct_addrinfo struct_stat_st_blksize struct_stat_st_blocks struct_stat_st_rdev "
    "struct_stat_st_mtim struct_stat_st_mtim_tv_nsec struct_tm_tm_zone struct_tm_tm_gmtoff struct_in6_addr "
    "struct_passwd_pw_gecos struct_option struct_rlimit struct_utsname struct_ucred tm_zone tm_gmtoff st_blksize "
    "st_blocks st_rdev suseconds_t useconds_t blkcnt_t blksize_t nlink_t rlim_t stack_t ucontext_t siginfo_t locale_t "
    "mbstate_t wctype_t wctrans_t caddr_t daddr_t quad_t u_quad_t union_semun".split()
)

TRUE = frozenset(
    "stdc_headers _gnu_source _all_source _posix_pthread_semantics _tandem_source __extensions__ prototypes "
    "time_with_sys_time have_alloca have_variadic_macros have_c99_variadic_macros have_gnuc_varargs "
    "have___attribute__ have_attribute have_func_attribute_format have_inline have_c_inline have_const have_volatile "
    "have_stdarg have_va_copy have___va_copy have_builtin_expect have___builtin_expect have___func__ "
    "have___function__ have_restrict have_visibility have_tls have___thread have_unix have_linux have_ipv6 use_ipv6 "
    "inet6 enable_ipv6 have_posix_signals have_posix_sigaction have_dirent have_termios have_sockets "
    "have_unix_sockets have_pthreads have_pthread have_threads have_mmap have_working_mmap have_fork "
    "have_working_fork have_vfork have_working_vfork have_decl_sys_siglist_0 have_snprintf have_vsnprintf "
    "have_c99_snprintf have_ansi_prototypes have_prototypes have_langinfo_codeset have_sync_builtins have_gcc_atomics "
    "have_strerror_r have_decl_strerror_r strerror_r_char_p have_errno_decl have_environ_decl have_sys_errlist_0 "
    "have_void have_enum unix linux have_locale have_iconv have_lc_messages have_ffs have_isnan have_isinf "
    "have_finite have_sincos have_lrint have_lrintf have_gettimeofday have_decl_snan have_libm have_libpthread "
    "have_libdl have_librt have_libz have_zlib have_libpng have_libjpeg have_libc have_dlopen use_mmap use_select "
    "have_select have_poll have_epoll have_posix_memalign words_littleendian is_little_endian little_endian "
    "host_little_endian byteorder_little_endian have_little_endian have_stdint have_math".split()
)
"""What holds on Linux with clang and cannot be told from the headers."""

FIXED = {
    "retsigtype": "void", "select_type_arg1": "int", "select_type_arg234": "(fd_set *)",
    "select_type_arg5": "(struct timeval *)", "getgroups_t": "gid_t", "flexible_array_member": "/**/",
    "lstat_follows_slashed_symlink": "1", "stdc": "1", "mode_t_promoted": "mode_t", "recv_type_arg1": "int",
    "socket_size_type": "socklen_t", "accept_type_arg3": "socklen_t", "gettimeofday_timezone": "struct timezone",
}  # fmt: skip
"""Macros with values of their own."""

STRINGS = re.compile(
    r"(?i)^(.*_)?(version|package|package_name|package_string|package_tarname|package_bugreport|package_url|prefix|"
    r"exec_prefix|bindir|sbindir|libdir|libexecdir|datadir|datarootdir|pkgdatadir|pkglibdir|sysconfdir|localedir|"
    r"localstatedir|mandir|docdir|infodir|includedir|sharedir|confdir|configdir|etcdir|piddir|logdir|rundir|vardir|"
    r"gettext_package|lt_objdir|host|host_os|host_cpu|host_alias|build|build_date|target|arch|os|os_name|path|dir|shell|editor|"
    r"title|name|date|url|email|copyright|revision|git_commit|commit|suffix|user|group|file|program|compiler|cflags|cc)$"
)
"""Macros that hold a text."""

_UNDEF = re.compile(r"^[ \t]*#[ \t]*undef[ \t]+(\w+).*$")
_CMAKE = re.compile(r"^([ \t]*)#[ \t]*(cmakedefine|cmakedefine01|mesondefine)[ \t]+(\w+)(.*)$")
_SUBSTITUTE = re.compile(r"@([A-Za-z_][A-Za-z0-9_]*)@|\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_ALONE = re.compile(r"\s*(@\w+@|\$\{\w+\})\s*")
_EXACT_TYPE = re.compile(r"(?i)^(?:.*_)?(u?)(?:_)?int_?(8|16|32|64)(?:_?t(?:ype)?)?$")


class Configuration:
    """Answers from the pinned headers.

    Args:
        headers: the system's headers.
    """

    def __init__(self, headers: Headers) -> None:
        self._headers = headers

    def value(self, macro: str) -> str | None:
        """What ``#define MACRO`` should say, or None where the macro should stay undefined."""
        name = macro.lower().strip("_") if macro.lower() not in TRUE else macro.lower()
        if name in TRUE or macro.lower() in TRUE:
            return "1"
        if macro.startswith(("SIZEOF_", "SIZE_OF_")):
            return str(SIZES.get(name.partition("of_")[2], 8))
        if macro.startswith("ALIGNOF_"):
            return str(min(SIZES.get(name[8:], 8), 16))
        if "have_decl_" in name:
            return "1" if name.split("have_decl_", 1)[1] in self._headers.functions else "0"
        for prefix in ("have_", "has_"):
            if prefix in name:
                return "1" if self._exists(name.split(prefix, 1)[1]) else None
        if name in FIXED:
            return FIXED[name]
        if "little_endian" in name:
            return "1"
        if STRINGS.match(macro):
            return '"1.0"' if "version" in name else '"dojo"'
        return None

    def substitute(self, variable: str, quoted: bool) -> str:
        """The text for ``@VARIABLE@`` in a template, inside quotes or not."""
        exact = _EXACT_TYPE.match(variable)
        if exact and not quoted and "have" not in variable.lower():
            return f"{'u' if exact[1] else ''}int{exact[2]}_t"
        if not quoted and not re.search("(?i)have|sizeof", variable):
            for word in ("inline", "ssize_t", "size_t"):
                if word in variable.lower():
                    return word
        value = self.value(variable)
        if quoted or (value or "").startswith('"'):
            text = (value or "").strip('"') or "dojo"
            return (
                text
                if quoted
                else ("1" if re.search(r"(?i)version|major|minor|micro|patch", variable) else f'"{text}"')
            )
        if re.search(r"(?i)version|major|revision", variable):
            return "1"
        return value or "0"

    def fill(self, template: str) -> str:
        """A header made from the text of its template, of autoconf's, CMake's or Meson's kind."""
        return "\n".join(self._line(line) for line in template.split("\n"))

    def _line(self, line: str) -> str:
        undef = _UNDEF.match(line)
        if undef:
            value = self.value(undef[1])
            return f"/* #undef {undef[1]} */" if value is None else f"#define {undef[1]} {value}"
        cmake = _CMAKE.match(line)
        if cmake:
            value = self.value(cmake[3])
            if cmake[2] == "cmakedefine01":
                return f"{cmake[1]}#define {cmake[3]} {1 if value not in (None, '0') else 0}"
            if value is None:
                return f"/* #undef {cmake[3]} */"
            rest = cmake[4].strip()
            return f"{cmake[1]}#define {cmake[3]} {self._substituted(rest) if rest else value}"
        return self._substituted(line)

    def _substituted(self, text: str) -> str:
        if "@" not in text and "${" not in text:
            return text
        if _ALONE.fullmatch(text):  # a place for whole lines, such as autoheader's @TOP@
            return ""

        def answer(match: re.Match[str]) -> str:
            quoted = text[: match.start()].count('"') % 2 == 1
            return self.substitute(match[1] or match[2], quoted)

        return _SUBSTITUTE.sub(answer, text)

    def _exists(self, name: str) -> bool:
        """Whether the headers have what ``HAVE_NAME`` asks for: a header, a function, a type."""
        if name.endswith("_h"):
            parts = name[:-2].split("_")
            if len(parts) > 5:
                return False
            joints = itertools.product("_/-", repeat=len(parts) - 1)
            spelt = ("".join(itertools.chain(*itertools.zip_longest(parts, joint, fillvalue=""))) for joint in joints)
            return any(f"{one}.h" in self._headers.standard_names for one in spelt)
        return name in TYPES or name in self._headers.functions or f"struct_{name}" in TYPES


def make_headers(tree: SourceTree) -> list[str]:
    """Make the headers that the tree has templates for and nothing else makes; returns their paths."""
    configuration = Configuration(tree.headers)
    made = []
    # autoconf's first: where there are several for one header, it is the most complete
    for path in sorted(tree.files, key=lambda path: ("cmake" in path or "meson" in path, path)):
        match = TEMPLATE.match(path)
        if not match:
            continue
        header = match[1] or f"{match[2]}.h"
        # gnulib's replacements of system headers are called stdio.in.h and only matter elsewhere
        if tree.contains(header) or header in made:
            continue
        text = (tree.root / path).read_text(errors="surrogateescape")
        # where a folder has the header's name
        with contextlib.suppress(IsADirectoryError):
            (tree.root / header).write_text(configuration.fill(text), errors="surrogateescape")
            made.append(header)
    if made:
        tree.refresh()
    return made


def generic_header(headers: Headers) -> str:
    """A config.h for packages that have no template: what of the usual questions can be answered with yes."""
    asked = sorted(
        {
            "HAVE_" + re.sub(r"[^A-Za-z0-9]", "_", name).upper()
            for name in headers.standard_names
            if posixpath.dirname(name) in ("", "sys", "netinet", "arpa") and name.endswith(".h")
        }
        | {f"HAVE_{name.upper()}" for name in headers.functions if len(name) < 16 and not name.startswith("_")}
        | {f"SIZEOF_{name.upper()}" for name in SIZES if not name.startswith("_")}
        | {"STDC_HEADERS", "PACKAGE", "VERSION", "PACKAGE_NAME", "PACKAGE_VERSION", "PACKAGE_STRING"}
    )
    configuration = Configuration(headers)
    values = ((macro, configuration.value(macro)) for macro in asked)
    return "".join(f"#ifndef {m}\n#define {m} {v}\n#endif\n" for m, v in values if v is not None)


def put_generic_header(tree: SourceTree, name: str) -> str | None:
    """Put such a header under a name into a folder of its own, out of sight of units that do not ask for it.

    Returns:
        The folder, relative to the tree's root; None for a name that no folder can hold.
    """
    if name.startswith("/") or ".." in name.split("/"):
        return None
    folder = f"{GENERIC}/{name.replace('/', '_')}"
    path = tree.root / folder / name
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(generic_header(tree.headers))
    except OSError as error:
        if error.errno not in _NO_NAME:
            raise
        return None
    except ValueError:  # a null byte
        return None
    return folder
