"""The doctor finds what is wrong, and names a remedy for it."""

from course_tools import doctor


def test_every_finding_that_is_not_well_has_a_remedy(monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "empty"))
    findings = {finding.subject: finding for finding in doctor.examine()}
    assert not findings["Models and data"].well and "course fetch" in findings["Models and data"].remedy
    assert findings["Python"].well and findings["Packages"].well and findings["Notebook kernel"].well
    assert all(finding.remedy for finding in findings.values() if not finding.well)


def test_a_package_of_another_version_is_named(monkeypatch):
    installed = doctor._installed
    monkeypatch.setattr(doctor, "_installed", lambda name: "0.0" if name == "keras" else installed(name))
    packages = next(finding for finding in doctor.examine() if finding.subject == "Packages")
    assert not packages.well and "not keras" in packages.found
