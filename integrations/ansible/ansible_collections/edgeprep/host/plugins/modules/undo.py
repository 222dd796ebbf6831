#!/usr/bin/python
# Copyright: (c) 2026, the edgeprep authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# or, at your option, Apache License 2.0 (see LICENSES/Apache-2.0.txt).
# SPDX-License-Identifier: GPL-3.0-or-later OR Apache-2.0
"""Ansible module: take a fix back."""

from __future__ import annotations

DOCUMENTATION = r"""
module: undo
short_description: Take back what M(edgeprep.host.fix) changed
version_added: 0.1.0
description:
  - Runs C(edgeprep undo), which puts back what a fix changed, byte for byte.
  - What somebody else changed since is left as it is, and named in RV(left).
author:
  - The edgeprep authors (@edgeprep)
extends_documentation_fragment:
  - edgeprep.host.edgeprep
options:
  id:
    description:
      - The number of the fix, as RV(edgeprep.host.fix#module:journal) says it. Where that is undone already, nothing is done.
      - By default the last one that stands, so each run takes back one more; where none stands, nothing is done.
    type: int
  state_dir:
    description: Where the journals are. By default C(/var/lib/edgeprep), inside the root for an image.
    type: path
attributes:
  check_mode:
    description: Can run in check mode, and says which fix would be taken back and what it had changed.
    support: full
  diff_mode:
    description: Names the paths; what they hold after is not shown.
    support: partial
seealso:
  - module: edgeprep.host.fix
  - module: edgeprep.host.info
"""

EXAMPLES = r"""
- name: Take back the last fix
  edgeprep.host.undo:
  become: true

- name: Take back a certain one
  edgeprep.host.undo:
    id: 3
  become: true
"""

RETURN = r"""
journal:
  description: The number of the fix that was taken back, or would be; none where there was nothing to do.
  returned: always
  type: int
  sample: 1
restored:
  description: The paths that are as they were before the fix, or would be.
  returned: always
  type: list
  elements: str
left:
  description: The paths that others changed since, and that were left.
  returned: always
  type: list
  elements: str
notes:
  description: What is no longer configured and still in effect.
  returned: always
  type: list
  elements: str
exit_code:
  description: The exit code of edgeprep.
  returned: always
  type: int
  sample: 0
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.edgeprep.host.plugins.module_utils.edgeprep import PLACE_SPEC, Edgeprep, place_arguments


# What edgeprep puts right of itself at an undo without a number, and takes back nothing else.
INTERRUPTED = dict(journal=None, files=[])


def choose(module, fixes):
    """The fix to take back; none where there is nothing to do."""
    asked = module.params['id']
    if asked is None and any('interrupted' in fix['status'] for fix in fixes):
        return INTERRUPTED
    standing = [fix for fix in fixes if fix['status'] == 'done']
    if asked is None:
        return standing[-1] if standing else None
    named = [fix for fix in fixes if fix['journal'] == asked]
    if not named:
        known = ', '.join(str(fix['journal']) for fix in fixes) or 'none'
        module.fail_json(msg='there is no fix %d; those there are: %s' % (asked, known))
    if 'interrupted' in named[0]['status']:
        return INTERRUPTED
    return named[0] if named[0]['status'] == 'done' else None


def main():
    module = AnsibleModule(
        argument_spec=dict(PLACE_SPEC, id=dict(type='int'), state_dir=dict(type='path')),
        supports_check_mode=True,
    )
    place = place_arguments(module)
    if module.params['state_dir']:
        place.append('--state=' + module.params['state_dir'])
    edgeprep = Edgeprep(module)
    history, code = edgeprep.report(['history', '--format=json'] + place, 'edgeprep.history/1')
    fix = choose(module, history['fixes'])
    result = dict(changed=fix is not None, journal=fix['journal'] if fix else None, restored=fix['files'] if fix else [],
                  left=[], notes=[], exit_code=code)
    if fix is not None and not module.check_mode:
        number = [] if fix is INTERRUPTED else [str(fix['journal'])]
        undone, code = edgeprep.report(['undo'] + number + ['--yes', '--format=json'] + place, 'edgeprep.undo/1')
        result.update(exit_code=code)
        result.update((key, undone[key]) for key in ('changed', 'restored', 'left', 'notes'))
        if undone['failed'] or code in (5, 6):
            module.fail_json(msg='the undo failed: ' + '; '.join(undone['failed']), **result)
    if module._diff and result['restored']:
        result['diff'] = [dict(prepared='%s: as before the fix\n' % path) for path in result['restored']]
    if result['left']:
        module.warn('edgeprep: others changed since, and left as it is: ' + ', '.join(result['left']))
    for note in result['notes']:
        module.warn('edgeprep: ' + note)
    module.exit_json(**result)


if __name__ == '__main__':
    main()
