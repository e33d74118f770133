"""Freezes the modules of the engine: freeze.py STDLIB LIB OUT

Writes OUT/frozen.bin, their code one after another, and OUT/frozen.h with the
table of it. Runs under the very version that the engine is built of.
"""

import marshal
import os
import sys

# Modules of the standard library that tasks may import, besides those that
# CPython freezes itself. Those in a package are listed with it.
STDLIB = """
__future__ _markupbase _py_abc _pydecimal _strptime _threading_local _weakrefset ast base64 bisect calendar collections
collections.abc configparser contextlib contextvars copy copyreg csv dataclasses datetime decimal dis encodings encodings.aliases
encodings.ascii encodings.latin_1 encodings.utf_8 encodings.raw_unicode_escape encodings.unicode_escape encodings.hex_codec
encodings.base64_codec encodings.utf_16 encodings.utf_32 encodings.cp1252 enum fnmatch fractions functools graphlib hashlib heapq
hmac http importlib importlib.abc importlib._abc inspect ipaddress json json.decoder json.encoder json.scanner keyword linecache
locale logging numbers opcode operator pathlib platform pprint queue random re re._casefix re._compiler re._constants re._parser
reprlib secrets shlex signal sre_compile sre_constants sre_parse statistics string struct textwrap threading token tokenize
tomllib tomllib._parser tomllib._re tomllib._types traceback types typing urllib urllib.error urllib.parse urllib.response uuid
warnings weakref
""".split()


def sources(lib):
    """Gives name, file and whether it is a package, of all modules below lib."""
    for folder, folders, files in os.walk(lib):
        folders.sort()
        for file in sorted(files):
            if not file.endswith(".py"):
                continue
            path = os.path.join(folder, file)
            parts = os.path.relpath(path, lib)[:-3].split(os.sep)
            package = parts[-1] == "__init__"
            yield ".".join(parts[:-1] if package else parts), path, package


def main(stdlib, lib, out):
    modules = []
    for name in STDLIB:
        path = os.path.join(stdlib, *name.split("."))
        package = os.path.isdir(path)
        modules.append((name, os.path.join(path, "__init__.py") if package else path + ".py", package, 2))
    modules += [(*module, 2) for module in sources(lib)]

    blob, table = bytearray(), []
    for name, path, package, optimize in modules:
        with open(path, "rb") as f:
            source = f.read()
        code = marshal.dumps(compile(source, "<frozen %s>" % name, "exec", dont_inherit=True, optimize=optimize))
        table.append('    {"%s", frozen_code + %d, %d, %d, NULL},' % (name, len(blob), len(code), package))
        blob += code
    with open(os.path.join(out, "frozen.bin"), "wb") as f:
        f.write(blob)
    with open(os.path.join(out, "frozen.h"), "w", encoding="utf-8") as f:
        f.write("static unsigned char frozen_code[] = {\n#embed \"frozen.bin\"\n};\n\n")
        f.write("static const struct _frozen frozen[] = {\n%s\n    {NULL, NULL, 0, 0, NULL},\n};\n" % "\n".join(table))


if __name__ == "__main__":
    main(*sys.argv[1:])
