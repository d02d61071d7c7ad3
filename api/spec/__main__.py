"""`python -m api.spec`: the page docs/campaign.md, printed."""

import sys

from api.spec.campaign_page import campaign_page

if __name__ == "__main__":
    sys.stdout.write(campaign_page())
