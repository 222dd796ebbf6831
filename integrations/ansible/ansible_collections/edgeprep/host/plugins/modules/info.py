#!/usr/bin/python
# Copyright: (c) 2026, the edgeprep authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# or, at your option, Apache License 2.0 (see LICENSES/Apache-2.0.txt).
# SPDX-License-Identifier: GPL-3.0-or-later OR Apache-2.0
"""Ansible module: what edgeprep knows of a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: info
short_description: Return the hardware, the profile and the fixes of a host
version_added: 0.1.0
description:
  - Returns the version of edgeprep, what C(edgeprep detect) recognises, and the fixes that C(edgeprep history) lists.
author:
  - The edgeprep authors (@edgeprep)
extends_documentation_fragment:
  - edgeprep.host.edgeprep
options:
  profile:
    description: A profile, by its name or by the path of a file on the target, or V(auto). By default V(auto).
    type: str
  state_dir:
    description: Where the journals are. By default C(/var/lib/edgeprep), inside the root for an image.
    type: path
attributes:
  check_mode:
    description: Can run in check mode and says the same, as it changes nothing.
    support: full
  diff_mode:
    description: Nothing is changed, so there is nothing to show.
    support: none
seealso:
  - module: edgeprep.host.check
"""

EXAMPLES = r"""
- name: Ask which board this is
  edgeprep.host.info:
  become: true
  register: edgeprep_info

- name: Say it
  ansible.builtin.debug:
    msg: "{{ edgeprep_info.profile.name }}, as {{ edgeprep_info.recognised_by }}"
"""

RETURN = r"""
version:
  description: The version of edgeprep.
  returned: always
  type: str
  sample: 0.1.0
executable:
  description: Where the program is.
  returned: always
  type: str
  sample: /usr/local/bin/edgeprep
host:
  description: The host, its system, kernels and hardware.
  returned: always
  type: dict
profile:
  description: The profile, how it was chosen, and why.
  returned: always
  type: dict
  sample:
    chosen: auto
    name: rpi4
    notes: []
    why: "the device tree says raspberrypi,4-model-b"
recognised_by:
  description: What the board was recognised by.
  returned: always
  type: str
boot:
  description: The boot loader, and which file holds the kernel's arguments.
  returned: always
  type: dict
fixes:
  description: The fixes, oldest first, with the keys C(journal), C(status), C(users), C(stacks) and C(files).
  returned: always
  type: list
  elements: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.edgeprep.host.plugins.module_utils.edgeprep import PLACE_SPEC, Edgeprep, place_arguments


def main():
    module = AnsibleModule(
        argument_spec=dict(PLACE_SPEC, profile=dict(type='str'), state_dir=dict(type='path')),
        supports_check_mode=True,
    )
    edgeprep = Edgeprep(module)
    place = place_arguments(module)
    detect = ['detect', '--format=json'] + place
    if module.params['profile'] is not None:
        detect.append('--profile=' + module.params['profile'])
    history = ['history', '--format=json'] + place
    if module.params['state_dir']:
        history.append('--state=' + module.params['state_dir'])
    detected, code = edgeprep.report(detect, 'edgeprep.detect/1')
    fixes, code = edgeprep.report(history, 'edgeprep.history/1')
    module.exit_json(
        changed=False,
        version=edgeprep.version(),
        executable=edgeprep.path,
        fixes=fixes['fixes'],
        **dict((key, detected.get(key)) for key in ('host', 'profile', 'recognised_by', 'boot')))


if __name__ == '__main__':
    main()
