"""What shops call their columns: English and Russian, without case, spaces and signs, the surest first."""

from __future__ import annotations

ORDER_COLUMNS: dict[str, tuple[str, ...]] = {
    "order_id": (
        "orderid", "ordernumber", "orderno", "invoiceno", "invoice", "invoiceid", "invoicenumber", "order",
        "receiptid", "receiptno", "receiptnumber", "receipt", "transactionid", "transactionno", "basketid",
        "checkid", "номерзаказа", "заказ", "idзаказа", "кодзаказа", "номердокумента", "документ", "номерчека",
        "чек", "номер", "number", "name",
    ),
    "customer_id": (
        "customerid", "customerno", "customernumber", "clientid", "userid", "customer", "client", "memberid",
        "householdid", "cardno", "cardnumber", "loyaltycard", "idклиента", "кодклиента", "клиентid",
        "idпокупателя", "кодпокупателя", "номеркарты", "картаклиента", "дисконтнаякарта", "email",
        "customeremail", "billingemail", "emailклиента", "phone", "billingphone", "телефон", "телефонклиента",
        "контрагент", "покупатель", "клиент",
    ),
    "product_id": (
        "productid", "productcode", "sku", "stockcode", "itemid", "itemcode", "lineitemsku", "itemsku",
        "productsku", "variantid", "articleid", "article", "артикул", "кодтовара", "idтовара", "номенклатуракод",
        "кодноменклатуры", "штрихкод", "barcode", "ean", "upc", "код",
    ),
    "quantity": (
        "quantity", "qty", "lineitemquantity", "itemquantity", "quantityordered", "units", "количество",
        "колво", "кол", "штук",
    ),
    "unit_price": (
        "unitprice", "price", "lineitemprice", "itemprice", "priceperunit", "productprice", "itemcost",
        "ценазаединицу", "ценапродажи", "ценатовара", "цена", "salesprice", "purchaseprice",
    ),
    "ordered_at": (
        "orderedat", "orderdate", "invoicedate", "createdat", "datecreated", "ordercreatedat", "orderdatetime",
        "purchasedate", "purchasedat", "transactiondate", "transactiondatetime", "datetime", "timestamp",
        "датазаказа", "датасоздания", "датаоформления", "датаивремя", "датапродажи", "датадокумента",
        "датапокупки", "дата", "date", "paidat",
    ),
    "line_discount": ("linediscount", "lineitemdiscount", "itemdiscount", "скидкапостроке", "скидканатовар"),
    "order_discount": ("orderdiscount", "discountamount", "cartdiscount", "скидканазаказ", "скидказаказа"),
    "unit_cost": (
        "unitcost", "costperitem", "costprice", "себестоимость", "закупочнаяцена", "ценазакупки",
    ),
    "promo_code": ("promocode", "discountcode", "couponcode", "coupon", "промокод", "купон"),
    "points_spent": ("pointsspent", "bonusesspent", "списанобонусов", "баллысписано"),
    "channel": ("channel", "saleschannel", "source", "канал", "каналпродаж", "источник"),
    "store_id": ("storeid", "store", "shopid", "location", "магазин", "кодмагазина", "склад"),
    "status": ("status", "orderstatus", "financialstatus", "статус", "статусзаказа"),
    "title": (
        "title", "producttitle", "productname", "description", "itemname", "lineitemname", "itemtitle",
        "наименование", "наименованиетовара", "названиетовара", "название", "товар", "номенклатура", "product",
        "item", "name",
    ),
    "category": ("category", "productcategory", "categoryname", "категория", "группатоваров", "раздел"),
    "brand": ("brand", "vendor", "manufacturer", "бренд", "производитель", "торговаямарка"),
}  # fmt: skip
# Words of a code or title that stands for money, not for goods.
NOT_GOODS = (
    "postage", "carriage", "shipping", "delivery", "freight", "fee", "fees", "charge", "charges", "discount",
    "adjust", "adjustment", "manual", "commission", "samples", "bad debt", "tip", "tips", "gift wrap", "deposit",
    "доставка", "скидка", "услуга", "услуги", "сервисный сбор", "комиссия", "корректировка", "упаковка", "чаевые",
)  # fmt: skip
# Most frequent country -> currency and time zone to begin with.
COUNTRIES: dict[str, tuple[str, str]] = {
    "united kingdom": ("GBP", "Europe/London"), "uk": ("GBP", "Europe/London"), "gb": ("GBP", "Europe/London"),
    "russia": ("RUB", "Europe/Moscow"), "ru": ("RUB", "Europe/Moscow"), "россия": ("RUB", "Europe/Moscow"),
    "germany": ("EUR", "Europe/Berlin"), "de": ("EUR", "Europe/Berlin"),
    "france": ("EUR", "Europe/Paris"), "fr": ("EUR", "Europe/Paris"),
    "spain": ("EUR", "Europe/Madrid"), "es": ("EUR", "Europe/Madrid"),
    "italy": ("EUR", "Europe/Rome"), "it": ("EUR", "Europe/Rome"),
    "netherlands": ("EUR", "Europe/Amsterdam"), "nl": ("EUR", "Europe/Amsterdam"),
    "poland": ("PLN", "Europe/Warsaw"), "pl": ("PLN", "Europe/Warsaw"),
    "united states": ("USD", "America/New_York"), "us": ("USD", "America/New_York"),
    "usa": ("USD", "America/New_York"), "canada": ("CAD", "America/Toronto"),
    "australia": ("AUD", "Australia/Sydney"), "kazakhstan": ("KZT", "Asia/Almaty"),
    "казахстан": ("KZT", "Asia/Almaty"), "belarus": ("BYN", "Europe/Minsk"), "беларусь": ("BYN", "Europe/Minsk"),
}  # fmt: skip
