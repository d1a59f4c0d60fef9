# Nothing of it is for Python: plain_xml.pxd has what there is.
