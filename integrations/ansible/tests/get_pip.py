"""Installs pip from the wheel beside this script into the Python that runs it.

ansible-test takes such a script from ci-files.testing.ansible.com, unless one is in its cache already. The test puts
this one there, so that PyPI is all that has to be reachable.
"""
import glob
import os
import runpy
import sys

wheel, = glob.glob(os.path.join(os.path.dirname(os.environ['GET_PIP']), 'pip-*.whl'))
sys.path.insert(0, wheel)
sys.argv = ['pip', 'install', '-q', '--disable-pip-version-check', '--no-index', wheel]
runpy.run_module('pip', run_name='__main__', alter_sys=True)
