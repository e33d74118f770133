/* The Python engine of script tasks: CPython as a guest of ABI v1.

   What tasks see is written in Python (../lib) and frozen in; this file joins it
   to the host. _initialize is run when the engine is built, and the memory that
   it leaves is what every sandbox starts from: nothing in it may depend on time
   or chance. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

#define IMPORT(name) __attribute__((import_module("wasakari_v1"), import_name(name)))
#define EXPORT(name) __attribute__((export_name(name)))

IMPORT("call") int64_t host_call(const char *op, size_t op_len, const char *req, size_t req_len, char *out, size_t cap);
IMPORT("take") int64_t host_take(char *out, size_t cap);
IMPORT("submit") int64_t host_submit(const char *op, size_t op_len, const char *req, size_t req_len);
IMPORT("wait") int64_t host_wait(int32_t timeout_ms, char *out, size_t cap);
IMPORT("log") void host_log(int32_t level, const char *msg, size_t len);
IMPORT("progress") void host_progress(int32_t permille, const char *msg, size_t len);

/* The frozen modules: made by freeze.py. */
#include "frozen.h"

/* Answers up to this size take one call of the host. */
static char answer[32 << 10];

/* Gives the answer that the host keeps, of n bytes, or what of them the host
   wrote to answer already. */
static PyObject *fetch(int64_t n, int written)
{
    if (n >= 0 && n <= (int64_t)sizeof answer && written)
        return PyBytes_FromStringAndSize(answer, n);
    if (n < 0)
        n = host_take(answer, sizeof answer);
    if (n >= 0 && n <= (int64_t)sizeof answer)
        return PyBytes_FromStringAndSize(answer, n);
    if (n < 0)
        return PyBytes_FromStringAndSize("", 0);
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, n);
    if (bytes)
        host_take(PyBytes_AS_STRING(bytes), n);
    return bytes;
}

/* call(op, request) -> (errno, answer): does an op. With an errno the answer is
   the error document. */
static PyObject *engine_call(PyObject *self, PyObject *args)
{
    const char *op, *req;
    Py_ssize_t op_len, req_len;
    if (!PyArg_ParseTuple(args, "s#s#", &op, &op_len, &req, &req_len))
        return NULL;
    int64_t n = host_call(op, op_len, req, req_len, answer, sizeof answer);
    PyObject *bytes = fetch(n, n >= 0);
    if (!bytes)
        return NULL;
    return Py_BuildValue("LN", (long long)(n < 0 ? -n : 0), bytes);
}

/* submit(op, request) -> ticket, or -errno. */
static PyObject *engine_submit(PyObject *self, PyObject *args)
{
    const char *op, *req;
    Py_ssize_t op_len, req_len;
    if (!PyArg_ParseTuple(args, "s#s#", &op, &op_len, &req, &req_len))
        return NULL;
    return PyLong_FromLongLong(host_submit(op, op_len, req, req_len));
}

/* wait(timeout_ms) -> (ticket, errno, answer), or -errno of the wait itself. */
static PyObject *engine_wait(PyObject *self, PyObject *args)
{
    int timeout;
    if (!PyArg_ParseTuple(args, "i", &timeout))
        return NULL;
    int64_t n = host_wait(timeout, answer, sizeof answer);
    if (n < 0)
        return PyLong_FromLongLong(n);
    uint32_t low = (uint32_t)n;
    int failed = low >> 31;
    PyObject *bytes = failed ? fetch(-1, 0) : fetch(low, 1);
    if (!bytes)
        return NULL;
    return Py_BuildValue("LiN", (long long)(n >> 32), failed ? (int)(low & 0x7fffffff) : 0, bytes);
}

/* Text for people: what no UTF-8 has, such as half of a surrogate pair, is
   escaped, as Python's standard error does. */
static PyObject *tell(PyObject *args, void (*to)(int32_t number, const char *text, size_t len))
{
    int number;
    PyObject *text;
    if (!PyArg_ParseTuple(args, "iU", &number, &text))
        return NULL;
    PyObject *bytes = PyUnicode_AsEncodedString(text, "utf-8", "backslashreplace");
    if (!bytes)
        return NULL;
    to(number, PyBytes_AS_STRING(bytes), PyBytes_GET_SIZE(bytes));
    Py_DECREF(bytes);
    Py_RETURN_NONE;
}

/* log(level, text) */
static PyObject *engine_log(PyObject *self, PyObject *args)
{
    return tell(args, host_log);
}

/* progress(permille, text) */
static PyObject *engine_progress(PyObject *self, PyObject *args)
{
    return tell(args, host_progress);
}

static PyMethodDef methods[] = {
    {"call", engine_call, METH_VARARGS, NULL},
    {"submit", engine_submit, METH_VARARGS, NULL},
    {"wait", engine_wait, METH_VARARGS, NULL},
    {"log", engine_log, METH_VARARGS, NULL},
    {"progress", engine_progress, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef host_module = {PyModuleDef_HEAD_INIT, "_wasakari", NULL, -1, methods, NULL, NULL, NULL, NULL};

static PyObject *init_host(void)
{
    return PyModule_Create(&host_module);
}

static PyObject *boot;

static void fail(PyStatus status)
{
    if (PyStatus_Exception(status))
        Py_ExitStatusException(status);
}

/* Forgets the frozen code of what is imported already: no sandbox has to copy
   it. */
static void forget(void)
{
    for (const struct _frozen *f = frozen; f->name; f++) {
        PyObject *name = PyUnicode_FromString(f->name);
        PyObject *module = name ? PyImport_GetModule(name) : NULL;
        if (module)
            memset((void *)f->code, 0, f->size);
        Py_XDECREF(module);
        Py_XDECREF(name);
        PyErr_Clear();
    }
}

extern void __wasm_call_ctors(void);

EXPORT("_initialize") void initialize(void)
{
    __wasm_call_ctors();
    PyImport_FrozenModules = frozen;
    PyImport_AppendInittab("_wasakari", init_host);

    PyPreConfig pre;
    PyPreConfig_InitIsolatedConfig(&pre);
    pre.utf8_mode = 1;
    fail(Py_PreInitialize(&pre));

    PyConfig config;
    PyConfig_InitIsolatedConfig(&config);
    config.use_hash_seed = 1; /* of 0: the same in all sandboxes */
    config.hash_seed = 0;
    config.site_import = 0;
    config.write_bytecode = 0;
    config.install_signal_handlers = 0;
    config.use_frozen_modules = 1;
    config.pathconfig_warnings = 0;
    config.module_search_paths_set = 1;
    config.optimization_level = 0;
    fail(PyConfig_SetString(&config, &config.program_name, L"python"));
    fail(PyConfig_SetString(&config, &config.executable, L""));
    fail(PyConfig_SetString(&config, &config.home, L"/python"));
    fail(Py_InitializeFromConfig(&config));
    PyConfig_Clear(&config);

    boot = PyImport_ImportModule("wasakari._engine");
    PyObject *ready = boot ? PyObject_CallMethod(boot, "ready", NULL) : NULL;
    if (!ready) {
        PyErr_Print();
        Py_FatalError("the engine's own modules do not start");
    }
    Py_DECREF(ready);
    forget();
}

/* Calls a function of wasakari._engine, which gives an exit. */
static int32_t enter(const char *function)
{
    PyObject *exit = PyObject_CallMethod(boot, function, NULL);
    if (!exit) {
        PyErr_Print();
        return 1;
    }
    return (int32_t)PyLong_AsLong(exit);
}

EXPORT("run") int32_t run(void)
{
    return enter("run");
}

EXPORT("revert") int32_t revert(void)
{
    return enter("revert");
}

EXPORT("describe") int32_t describe(void)
{
    return enter("describe");
}
