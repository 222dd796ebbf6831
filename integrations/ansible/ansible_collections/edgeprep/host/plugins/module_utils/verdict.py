# Copyright: (c) 2026, the edgeprep authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# or, at your option, Apache License 2.0 (see LICENSES/Apache-2.0.txt).
# SPDX-License-Identifier: GPL-3.0-or-later OR Apache-2.0
"""What a module returns of edgeprep's reports."""

from __future__ import annotations

# Which verdicts fail a task, by its option fail_on.
FAILING = {
    'never': (),
    'not-ready': ('not-ready',),
    'unknown': ('not-ready', 'unknown'),
    'pending': ('not-ready', 'unknown', 'pending'),
}
READY = 'ready'
RE_LOGIN = 're-login'
REBOOT = 'reboot'


def summary(report, needs):
    """The keys that check and fix both return. What it takes (needs) besides what the stacks say."""
    verdict = report['summary'].get('verdict') or READY
    waiting = [stack for stack in report['stacks'] if stack['needs'] == RE_LOGIN]
    all_needs = [stack['needs'] for stack in report['stacks']] + [needs]
    found = dict(
        verdict=verdict,
        ready=verdict == READY,
        reboot_required=REBOOT in all_needs,
        relogin_required=RE_LOGIN in all_needs,
        relogin_users=sorted(set(stack['user'] for stack in waiting if stack.get('user'))),
        blockers=blockers(report),
    )
    facts = dict((key, found[key]) for key in ('verdict', 'ready', 'reboot_required', 'relogin_required'))
    facts.update(
        version=report['version'],
        profile=report['profile']['name'],
        users=[user['name'] for user in report['users']],
        stacks=dict((name, stacks_of(report, name)) for name in sorted(set(s['name'] for s in report['stacks']))),
        blockers=sorted(set(blocker['check'] for blocker in found['blockers'])),
    )
    return dict(found, report=report, ansible_facts=dict(edgeprep=facts))


def stacks_of(report, name):
    """The verdict of a stack for each user."""
    return dict((stack.get('user') or '', stack['verdict']) for stack in report['stacks'] if stack['name'] == name)


def blockers(report):
    """What keeps a stack from being ready: one entry for each finding, or for each check that found no answer."""
    blocking = set((stack['name'], stack.get('user'), check)
                   for stack in report['stacks'] for check in stack['blockers'])
    found = []
    for row in report['checks']:
        if row['level'] != 'required' or row['status'] not in ('fail', 'unknown'):
            continue
        stacks = sorted(set(name for name, user, check in blocking if check == row['id'] and name in row['stacks']
                            and row.get('user') in (None, user)))
        if not stacks:
            continue
        common = dict(check=row['id'], user=row.get('user'), stacks=stacks)
        for finding in row['findings']:
            if finding['verdict'] != 'met':
                found.append(dict(common, subject=finding['subject'], verdict=finding['verdict'],
                                  expected=finding['expected'], found=finding['found'],
                                  where=[place(evidence) for evidence in finding['evidence']],
                                  repair=finding['remedy']['summary'], fixable=finding['remedy']['fixable'],
                                  commands=finding['remedy']['commands']))
        if row['status'] == 'unknown' and row.get('reason'):
            found.append(dict(common, subject=row['summary'], verdict='unknown', expected='', found=row['reason'],
                              where=[], repair='', fixable=False, commands=[]))
    return found


def place(evidence):
    """Where something was read, as people write it."""
    line = evidence.get('line')
    text = evidence['path'] + (':%d' % line if line else '')
    return text + (' ' + evidence['text'] if evidence['text'] else '')


def blockers_text(found):
    """What keeps a stack from being ready, for a person."""
    lines = []
    for blocker in found:
        head = '%s (%s)' % (blocker['check'], ', '.join(blocker['stacks']))
        if blocker['verdict'] == 'unknown':
            lines.append('%s: could not be determined: %s' % (head, blocker['found']))
            continue
        lines.append('%s: %s: %s (expected %s)' % (head, blocker['subject'], blocker['found'], blocker['expected']))
        lines += ['    ' + where for where in blocker['where']]
        repair = blocker['repair']
        if blocker['fixable']:
            repair = 'edgeprep.host.fix (%s)' % repair
        if repair:
            lines.append('    repair: ' + repair)
        if not blocker['fixable']:
            lines += ['        ' + command for command in blocker['commands']]
    return '\n'.join(lines)


def judge(module, result):
    """Ends the module: with a failure where the option fail_on says so of the verdict."""
    verdict = result['verdict']
    if verdict not in FAILING[module.params['fail_on']]:
        module.exit_json(**result)
    users = ', '.join(result['ansible_facts']['edgeprep']['users'])
    stacks = ', '.join('%s %s' % (stack['name'], stack['verdict']) for stack in result['report']['stacks'])
    module.fail_json(msg='%s for %s: %s\n%s' % (verdict, users, stacks, blockers_text(result['blockers'])), **result)


def steps_text(steps):
    """What is left to a person, on one line."""
    return '; '.join(step['summary'] + (' (%s)' % ' && '.join(step['commands']) if step['commands'] else '')
                     for step in steps)
