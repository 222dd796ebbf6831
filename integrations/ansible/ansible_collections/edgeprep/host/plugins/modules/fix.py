#!/usr/bin/python
# Copyright: (c) 2026, the edgeprep authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# or, at your option, Apache License 2.0 (see LICENSES/Apache-2.0.txt).
# SPDX-License-Identifier: GPL-3.0-or-later OR Apache-2.0
"""Ansible module: repair a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: fix
short_description: Prepare a host for rootless container stacks
version_added: 0.1.0
description:
  - Runs C(edgeprep fix), which repairs what files and systemd can, in one plan that is applied as a whole or not at all,
    puts it into effect, and checks again.
  - In check mode nothing is written, and the task says what would be changed; with C(--diff) it shows each file.
  - M(edgeprep.host.undo) takes it back, byte for byte.
author:
  - The edgeprep authors (@edgeprep)
extends_documentation_fragment:
  - edgeprep.host.edgeprep
  - edgeprep.host.edgeprep.judge
options:
  scope:
    description: Whose part to repair, that of the system, that of the users, or both.
    type: str
    choices: [all, system, user]
    default: all
  allow_restart:
    description: Whether user managers may be restarted where nothing else helps. That ends all that they run.
    type: bool
    default: false
  allow_global_userns:
    description: Whether AppArmor's restriction of user namespaces may be lifted for all programs instead of for one.
    type: bool
    default: false
  regenerate_boot:
    description: Whether to run what carries kernel arguments to the boot loader, such as C(update-grub).
    type: bool
    default: false
  no_activate:
    description: Whether to write files only, and tell nothing that runs.
    type: bool
    default: false
  layer:
    description: Where files of an image go, to C(/etc) (V(admin)) or to C(/usr/lib) (V(vendor), only with O(root)).
    type: str
    choices: [admin, vendor]
    default: admin
  no_journal:
    description: Whether to leave no journal in an image, which then cannot be undone. Only with O(root).
    type: bool
    default: false
  state_dir:
    description: Where the journals are. By default C(/var/lib/edgeprep), inside the root for an image.
    type: path
attributes:
  check_mode:
    description: Can run in check mode; it plans then, and writes nothing at all.
    support: full
  diff_mode:
    description: Shows each file before and after, and what is told to systemd.
    support: full
  facts:
    description: Returns facts of the host, in RV(ansible_facts).
    support: full
notes:
  - The task fails, whatever O(fail_on) says, where edgeprep refuses what it is asked or a change fails. What was changed
    until then is put back; where that fails, too, RV(left) lists it.
seealso:
  - module: edgeprep.host.check
  - module: edgeprep.host.undo
"""

EXAMPLES = r"""
- name: Prepare the host for K3s of edge
  edgeprep.host.fix:
    stacks: [k3s]
    users: [edge]
  become: true
  register: prepared

- name: Reboot where nothing else puts it into effect
  ansible.builtin.reboot:
  become: true
  when: prepared.reboot_required

- name: Prepare it, and fail with the reason where something required is left
  edgeprep.host.fix:
    stacks: [podman, kind]
    users: [edge]
    fail_on: not-ready
  become: true

- name: Write an image, and leave no state in it
  edgeprep.host.fix:
    root: /mnt/image
    stacks: [podman]
    users: [edge]
    profile: rpi4
    no_journal: true
"""

RETURN = r"""
ready:
  description: Whether all that is required is met, and in effect.
  returned: always
  type: bool
  sample: false
verdict:
  description: The worst verdict of all stacks, V(ready), V(pending), V(unknown) or V(not-ready).
  returned: always
  type: str
  sample: not-ready
exit_code:
  description: The exit code of edgeprep.
  returned: always
  type: int
  sample: 1
reboot_required:
  description: Whether a reboot is missing until what is configured is in effect.
  returned: always
  type: bool
relogin_required:
  description: Whether a user has to log in anew until what is configured is in effect. With lingering only a reboot does.
  returned: always
  type: bool
relogin_users:
  description: Who has to.
  returned: always
  type: list
  elements: str
  sample: [edge]
blockers:
  description: What keeps a stack from being ready, one entry for each finding.
  returned: always
  type: list
  elements: dict
  contains:
    check:
      description: The ID of the check. C(edgeprep explain ID) says what it is about.
      type: str
      sample: cgroup-delegation
    stacks:
      description: The stacks that it keeps from being ready.
      type: list
      elements: str
      sample: [k3s]
    user:
      description: The user whose stacks these are, or none where it is about the system.
      type: str
    subject:
      description: What is wrong.
      type: str
      sample: cpuset
    verdict:
      description: V(unmet), V(pending) or V(unknown).
      type: str
      sample: unmet
    expected:
      description: What it should be.
      type: str
      sample: delegated
    found:
      description: What it is, or why that could not be determined.
      type: str
      sample: not delegated
    where:
      description: Where that was read, as path, line and text.
      type: list
      elements: str
      sample: ["/usr/lib/systemd/system/user@.service:28 Delegate=pids memory cpu"]
    repair:
      description: What repairs it.
      type: str
    fixable:
      description: Whether M(edgeprep.host.fix) repairs it.
      type: bool
    commands:
      description: What repairs it, by hand.
      type: list
      elements: str
report:
  description:
    - The whole report, C(edgeprep.report/1), as C(edgeprep check --format json) prints it. After a fix, that of the
      host as it is then; in check mode, as it would be.
  returned: always
  type: dict
ansible_facts:
  description: What other tasks ask of the host.
  returned: always
  type: dict
  contains:
    edgeprep:
      description: The answer in short.
      returned: always
      type: dict
      sample:
        blockers: [cgroup-delegation]
        profile: generic-x86_64
        ready: false
        reboot_required: false
        relogin_required: false
        stacks: {k3s: {edge: not-ready}}
        users: [edge]
        verdict: not-ready
        version: 0.1.0
files:
  description: The paths that were changed, or would be.
  returned: always
  type: list
  elements: dict
  contains:
    path:
      description: The path.
      type: str
      sample: /etc/sysctl.d/90-rootless.conf
    before:
      description: The text before, none where there was none or where it stays.
      type: str
    after:
      description: The text after.
      type: str
    mode:
      description: The permission bits after.
      type: str
      sample: "0644"
    owner:
      description: The owner and group after.
      type: str
      sample: "0:0"
    diff:
      description: The unified diff.
      type: str
activations:
  description: What put it into effect, in words.
  returned: always
  type: list
  elements: str
manual:
  description: What is left to a person.
  returned: always
  type: list
  elements: dict
  contains:
    summary:
      description: What to do.
      type: str
      sample: install k3s
    commands:
      description: What to type.
      type: list
      elements: str
for_root:
  description: What only root can do, where the task does not run as root.
  returned: always
  type: dict
journal:
  description: The number of this fix, for M(edgeprep.host.undo); none where nothing was changed.
  returned: always
  type: int
  sample: 1
notes:
  description: What had no effect yet, and what an earlier fix that was interrupted left and was put back.
  returned: always
  type: list
  elements: str
left:
  description: What could not be put back after a failure.
  returned: always
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.edgeprep.host.plugins.module_utils.edgeprep import (
    JUDGE_SPEC, PLACE_SPEC, Edgeprep, judge_arguments, place_arguments)
from ansible_collections.edgeprep.host.plugins.module_utils.verdict import RE_LOGIN, REBOOT, judge, steps_text, summary

SWITCHES = ('allow_restart', 'allow_global_userns', 'regenerate_boot', 'no_activate', 'no_journal')
RETURNED = ('changed', 'files', 'activations', 'manual', 'for_root', 'journal', 'notes', 'left')


def arguments(module):
    words = ['fix', '--format=json', '--dry-run' if module.check_mode else '--yes']
    words += place_arguments(module) + judge_arguments(module)
    words += ['--scope=' + module.params['scope'], '--layer=' + module.params['layer']]
    words += ['--' + switch.replace('_', '-') for switch in SWITCHES if module.params[switch]]
    if module.params['state_dir']:
        words.append('--state=' + module.params['state_dir'])
    return words


def diff(fixed):
    """What --diff shows: a file each, and what follows."""
    shown = []
    for change in fixed['files']:
        path, before, after = change['path'], change.get('before'), change.get('after')
        attributes = ', '.join(part for part in ('mode ' + change['mode'] if change.get('mode') else '',
                                                 'owner ' + change['owner'] if change.get('owner') else '') if part)
        if before or after:
            shown.append(dict(
                before=before or '', after=after or '',
                before_header=path + (' (absent)' if before is None else ''),
                after_header=path + (' (absent)' if after is None else ' (%s)' % attributes if attributes else '')))
        else:
            # An empty file, a directory, or something of which only that changes.
            shown.append(dict(prepared='%s: %s\n' % (path, attributes or 'removed')))
    shown += [dict(prepared='then: %s\n' % activation) for activation in fixed['activations']]
    return shown


def warn(module, fixed, result):
    """What a person has to know though the task succeeds."""
    will = 'would be' if module.check_mode else 'is'
    if fixed['needs'] == REBOOT:
        module.warn('edgeprep: a reboot %s needed until all is in effect' % will)
    elif fixed['needs'] == RE_LOGIN:
        module.warn('edgeprep: %s needed of %s until all is in effect; for a user who lingers only a reboot helps'
                    % ('a new login %s' % will, ', '.join(result['relogin_users']) or 'the users'))
    if fixed['for_root'] is not None:
        module.warn('edgeprep: %d file(s) and %d activation(s) take root and were left: add "become: true"'
                    % (len(fixed['for_root']['files']), len(fixed['for_root']['activations'])))
    if fixed['manual']:
        module.warn('edgeprep: left by hand: ' + steps_text(fixed['manual']))
    for note in fixed['notes']:
        module.warn('edgeprep: ' + note)


def main():
    module = AnsibleModule(
        argument_spec=dict(
            PLACE_SPEC, **dict(
                JUDGE_SPEC,
                scope=dict(type='str', choices=['all', 'system', 'user'], default='all'),
                allow_restart=dict(type='bool', default=False),
                allow_global_userns=dict(type='bool', default=False),
                regenerate_boot=dict(type='bool', default=False),
                no_activate=dict(type='bool', default=False),
                layer=dict(type='str', choices=['admin', 'vendor'], default='admin'),
                no_journal=dict(type='bool', default=False),
                state_dir=dict(type='path'),
            )),
        supports_check_mode=True,
    )
    fixed, code = Edgeprep(module).report(arguments(module), 'edgeprep.fix/1')
    result = dict(summary(fixed['report'], fixed['needs']), exit_code=code)
    result.update((key, fixed.get(key)) for key in RETURNED)
    if module._diff:
        result['diff'] = diff(fixed)
    if code in (5, 6) or fixed.get('error'):
        outcome = 'everything was put back' if not fixed['left'] else (
            'this could not be put back, and the journal is kept: ' + ', '.join(fixed['left']))
        module.fail_json(msg='the fix failed: %s; %s' % (fixed.get('error') or 'edgeprep does not say why', outcome),
                         **result)
    warn(module, fixed, result)
    judge(module, result)


if __name__ == '__main__':
    main()
