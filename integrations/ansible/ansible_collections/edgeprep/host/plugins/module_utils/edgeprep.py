# Copyright: (c) 2026, the edgeprep authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# or, at your option, Apache License 2.0 (see LICENSES/Apache-2.0.txt).
# SPDX-License-Identifier: GPL-3.0-or-later OR Apache-2.0
"""Runs edgeprep for a module, and fails the module with a message a person can act on."""

from __future__ import annotations

import errno
import json
import os
import platform
import signal
import struct
import threading

COLLECTION = 'edgeprep.host'
INSTALL_HINT = (
    'The role edgeprep.host.prepare installs it; else install the package edgeprep, or the static program '
    'for the architecture of the host, or name it with the option "executable"'
)
# elf(5), e_machine of the architectures that edgeprep is built for, and their likely neighbours.
ELF_MACHINES = {3: 'i386', 8: 'mips', 20: 'powerpc', 21: 'ppc64', 22: 's390x', 40: 'armv7', 62: 'x86_64',
                183: 'aarch64', 243: 'riscv64'}
# How long edgeprep may take to end after it was told to.
GRACE_SECONDS = 10
USAGE = 2
VAULT_HEADER = '$ANSIBLE_VAULT;'

PLACE_SPEC = dict(
    executable=dict(type='path', default='edgeprep'),
    root=dict(type='path'),
    timeout=dict(type='int', default=600),
)
JUDGE_SPEC = dict(
    stacks=dict(type='list', elements='str', default=[]),
    users=dict(type='list', elements='str', default=[]),
    profile=dict(type='str'),
    workload=dict(type='list', elements='path', default=[]),
    select=dict(type='list', elements='str', default=[]),
    ignore=dict(type='list', elements='str', default=[]),
    strict=dict(type='bool', default=False),
    fail_on=dict(type='str', choices=['never', 'not-ready', 'unknown', 'pending'], default='never'),
)
REPEATED = (('stacks', '--stack'), ('users', '--user'), ('workload', '--workload'), ('select', '--select'),
            ('ignore', '--ignore'))


def place_arguments(module):
    """The words of the options in PLACE_SPEC."""
    root = module.params['root']
    return ['--root=' + root] if root else []


def judge_arguments(module):
    """The words of the options in JUDGE_SPEC."""
    words = []
    for option, flag in REPEATED:
        words += ['%s=%s' % (flag, value) for value in module.params[option]]
    if module.params['profile'] is not None:
        words.append('--profile=' + module.params['profile'])
    if module.params['strict']:
        words.append('--strict')
    return words


class Edgeprep:
    """The program on the target."""

    def __init__(self, module):
        self.module = module
        self._refuse_vault_text()
        if module.params['timeout'] < 1:
            module.fail_json(msg='timeout is %d: it has to be at least 1 second' % module.params['timeout'])
        self.path = self._find()
        self._stopped = False

    def report(self, words, schema):
        """Runs edgeprep with these words. Returns the JSON that it printed and its exit code."""
        code, out, err = self._run(words)
        if code < 0:
            self._killed(code)
        if not out.strip():
            self._refused(words, code, err)
        try:
            report = json.loads(out)
            found = report['schema']
        except (ValueError, TypeError, KeyError):
            self.module.fail_json(msg='%s printed no report of edgeprep, but: %s' % (self.path, excerpt(out + err)))
        if found != schema:
            self.module.fail_json(msg=(
                '%s (edgeprep %s) reports in %s, and this version of the collection %s reads %s: install the '
                'version of the one that belongs to the other'
                % (self.path, report.get('version', 'of an unknown version'), excerpt(str(found)), COLLECTION, schema)))
        return report, code

    def version(self):
        """The version of the program."""
        code, out, err = self._run(['--version'])
        if code < 0:
            self._killed(code)
        words = out.split()
        if code != 0 or len(words) != 2 or words[0] != 'edgeprep':
            self.module.fail_json(msg='%s is not edgeprep; --version prints: %s' % (self.path, excerpt(out + err)))
        return words[1]

    def _refuse_vault_text(self):
        for option, value in sorted(self.module.params.items()):
            values = value if isinstance(value, list) else [value]
            for text in values:
                if isinstance(text, str) and text.lstrip().startswith(VAULT_HEADER):
                    self.module.no_log_values.update([text, text.strip()])
                    self.module.fail_json(msg=(
                        'the option "%s" holds text of ansible-vault that was not decrypted: give it as a variable '
                        'with !vault, or from a file that ansible-vault encrypted' % option))

    def _find(self):
        asked = self.module.params['executable']
        if os.sep in asked:
            asked = os.path.abspath(asked)
            if not os.path.exists(asked):
                self.module.fail_json(msg='there is no %s on this host. %s' % (asked, INSTALL_HINT))
            if os.path.isdir(asked) or not os.access(asked, os.X_OK):
                self.module.fail_json(msg='%s cannot be executed: it is no program, or its mode does not allow it' % asked)
            return asked
        # What sudo sets as PATH leaves out /usr/local/bin on some distributions.
        found = self.module.get_bin_path(asked, opt_dirs=['/usr/local/bin'])
        if found is None:
            self.module.fail_json(msg='%s is not installed on this host: it is not in PATH, nor in /usr/local/bin. %s'
                                  % (asked, INSTALL_HINT))
        return found

    def _run(self, words):
        # The task says everything. A variable left in somebody's environment must not turn a fix into a dry run.
        for name in list(os.environ):
            if name.startswith('EDGEPREP_'):
                del os.environ[name]
        # Whom Ansible became root from is an account for automation as a rule, and not the one that runs containers.
        os.environ.pop('SUDO_USER', None)
        timers = []

        def watch(process):
            def end(ask):
                self._stopped = True
                ask()
            for seconds, ask in ((0, process.terminate), (GRACE_SECONDS, process.kill)):
                timer = threading.Timer(self.module.params['timeout'] + seconds, end, [ask])
                timer.daemon = True
                timer.start()
                timers.append(timer)

        try:
            return self.module.run_command(
                [self.path] + words, handle_exceptions=False, before_communicate_callback=watch,
                errors='surrogate_then_replace', expand_user_and_vars=False,
                environ_update={'LC_ALL': 'C.UTF-8', 'NO_COLOR': '1'})
        except (OSError, IOError) as error:
            return self._not_started(error)
        finally:
            for timer in timers:
                timer.cancel()

    def _not_started(self, error):
        machine = platform.machine()
        if error.errno == errno.ENOEXEC:
            built_for = elf_machine(self.path)
            what = 'is built for %s' % built_for if built_for else 'is no program of Linux'
            self.module.fail_json(msg='%s %s, and this host is %s (%s). Install the one for %s; with the role '
                                  'edgeprep.host.prepare the architecture is chosen by itself'
                                  % (self.path, what, machine, os.strerror(error.errno), machine))
        if error.errno == errno.EACCES:
            self.module.fail_json(msg='%s cannot be executed (%s): its mode, or a file system mounted with noexec'
                                  % (self.path, os.strerror(error.errno)))
        self.module.fail_json(msg='%s cannot be started: %s' % (self.path, error))

    def _killed(self, code):
        after = ('What a fix had begun is put back by the next fix or undo')
        if self._stopped:
            self.module.fail_json(msg='edgeprep had not ended after %d s (option "timeout") and was stopped. %s'
                                  % (self.module.params['timeout'], after), timed_out=True)
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = 'an unknown signal'
        self.module.fail_json(msg='edgeprep was killed by signal %d (%s). %s' % (-code, name, after))

    def _refused(self, words, code, err):
        said = excerpt(err) or 'nothing'
        if code not in (USAGE, 5, 6):
            self.module.fail_json(msg='%s ended with exit code %d and no report. It said: %s' % (self.path, code, said),
                                  exit_code=code)
        text = message(err)
        if os.geteuid() != 0 and not self.module.params['root'] and words[0] != 'check':
            if any(sign in text.lower() for sign in ('permission denied', 'not permitted', 'root')):
                text += '. This task does not run as root: add "become: true"'
        self.module.fail_json(msg=text, exit_code=code)


def message(err):
    """What edgeprep says on standard error, without what only helps at a terminal."""
    lines = [line.rstrip() for line in err.strip().splitlines()]
    lines = [line for line in lines if line and "try '--help'" not in line and not line.startswith('Usage:')]
    text = '\n'.join(lines)
    for prefix in ('edgeprep: ', 'error: '):
        if text.startswith(prefix):
            text = text[len(prefix):]
    return 'edgeprep refused: ' + (excerpt(text) or 'it did not say why')


def excerpt(text, most=2000):
    """The beginning of a text that may be long."""
    text = text.strip()
    return text if len(text) <= most else text[:most] + ' ...'


def elf_machine(path):
    """What architecture a program is built for; None where it is not one of Linux."""
    try:
        with open(path, 'rb') as program:
            head = program.read(20)
    except (OSError, IOError):
        return None
    if len(head) < 20 or head[:4] != b'\x7fELF':
        return None
    number = struct.unpack('>H' if head[5:6] == b'\x02' else '<H', head[18:20])[0]
    return ELF_MACHINES.get(number, 'machine %d of ELF' % number)
