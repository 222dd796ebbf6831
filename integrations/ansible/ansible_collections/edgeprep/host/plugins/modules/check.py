#!/usr/bin/python
# Copyright: (c) 2026, the edgeprep authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# or, at your option, Apache License 2.0 (see LICENSES/Apache-2.0.txt).
# SPDX-License-Identifier: GPL-3.0-or-later OR Apache-2.0
"""Ansible module: is this host ready?"""

from __future__ import annotations

DOCUMENTATION = r"""
module: check
short_description: Tell whether rootless container stacks will run on a host
version_added: 0.1.0
description:
  - Runs C(edgeprep check), which says whether rootless Podman, K3s, k3d, kind, minikube or Usernetes will run for a
    user, why not, and what repairs it.
  - It only reads. No module is loaded, nothing is started, no network is used, unless O(probe) asks it to try things.
author:
  - The edgeprep authors (@edgeprep)
extends_documentation_fragment:
  - edgeprep.host.edgeprep
  - edgeprep.host.edgeprep.judge
options:
  probe:
    description:
      - Whether to try also, as the user, what can be tried on a running host, and take it back.
      - In check mode nothing is tried.
    type: bool
    default: false
  timestamp:
    description: Whether to put the time of the check into RV(report).
    type: bool
    default: false
attributes:
  check_mode:
    description: Can run in check mode and says the same, as it changes nothing; O(probe) is left out then.
    support: full
  diff_mode:
    description: Nothing is changed, so there is nothing to show.
    support: none
  facts:
    description: Returns facts of the host, in RV(ansible_facts).
    support: full
seealso:
  - module: edgeprep.host.fix
  - module: edgeprep.host.info
"""

EXAMPLES = r"""
- name: Ask whether K3s will run for edge
  edgeprep.host.check:
    stacks: [k3s]
    users: [edge]
  become: true
  register: host

- name: Show what is in the way
  ansible.builtin.debug:
    msg: "{{ host.blockers }}"
  when: not host.ready

- name: Stop here unless the host is ready, and say why
  edgeprep.host.check:
    stacks: [k3s]
    users: [edge]
    fail_on: pending
  become: true

- name: Check an image before it is flashed
  edgeprep.host.check:
    root: /mnt/image
    stacks: [podman]
    users: [edge]
    fail_on: unknown
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
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.edgeprep.host.plugins.module_utils.edgeprep import (
    JUDGE_SPEC, PLACE_SPEC, Edgeprep, judge_arguments, place_arguments)
from ansible_collections.edgeprep.host.plugins.module_utils.verdict import judge, summary


def main():
    module = AnsibleModule(
        argument_spec=dict(
            PLACE_SPEC, **dict(
                JUDGE_SPEC,
                probe=dict(type='bool', default=False),
                timestamp=dict(type='bool', default=False),
            )),
        supports_check_mode=True,
    )
    words = ['check', '--format=json'] + place_arguments(module) + judge_arguments(module)
    if module.params['probe'] and not module.check_mode:
        words.append('--probe')
    if module.params['timestamp']:
        words.append('--timestamp')
    report, code = Edgeprep(module).report(words, 'edgeprep.report/1')
    judge(module, dict(summary(report, 'none'), changed=False, exit_code=code))


if __name__ == '__main__':
    main()
